// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"time"
)

var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidUnit         = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidCountry      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidUID          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}
	oidAlmostUID    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 3}
	oidLong         = asn1.ObjectIdentifier{2, 5, 4, 3, 1}
	oidEmail        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// readCertificates answers each certificate with the identity that an API server derives from it,
// apart from signatures and trust: a user, its groups (empty ones cannot travel and are left out),
// its UID and the credential ID, or the reason why there is none.
func readCertificates(in *bufio.Scanner, out *bufio.Writer) error {
	for in.Scan() {
		der, err := hex.DecodeString(in.Text())
		if err != nil {
			return err
		}
		fmt.Fprintln(out, identity(der))
	}
	return in.Err()
}

func identity(der []byte) string {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "none\t" + escape(err.Error())
	}
	if cert.Subject.CommonName == "" {
		return "none\tno common name"
	}
	uid, err := subjectUID(cert.Subject)
	if err != nil {
		return "none\t" + escape(err.Error())
	}
	digest := sha256.Sum256(cert.Raw)
	columns := []string{
		"user", escape(cert.Subject.CommonName), escape(uid), hex.EncodeToString(digest[:]),
		fmt.Sprint(cert.NotBefore.Unix()), fmt.Sprint(cert.NotAfter.Unix()),
		flag(cert.BasicConstraintsValid && cert.IsCA), clientUsage(cert),
	}
	for _, group := range cert.Subject.Organization {
		if group != "" {
			columns = append(columns, escape(group))
		}
	}
	return strings.Join(columns, "\t")
}

func subjectUID(subject pkix.Name) (string, error) {
	found := []string{}
	for _, name := range subject.Names {
		if name.Type.Equal(oidUID) {
			found = append(found, name.Value.(string))
		}
	}
	if len(found) == 0 {
		return "", nil
	}
	if len(found) > 1 {
		return "", errors.New("several UIDs")
	}
	if found[0] == "" {
		return "", errors.New("empty UID")
	}
	return found[0], nil
}

func clientUsage(cert *x509.Certificate) string {
	if len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 {
		return "absent"
	}
	for _, usage := range cert.ExtKeyUsage {
		if usage == x509.ExtKeyUsageAny || usage == x509.ExtKeyUsageClientAuth {
			return "client"
		}
	}
	return "other"
}

// makeCertificates writes certificates whose subjects hold what an attacker or a careless authority
// could put there: several names, multi-valued sets, all string types, wrong bytes in them, control
// bytes, outer spaces, repeated or empty UIDs, and subjects with a few bytes damaged.
func makeCertificates(out *bufio.Writer, count int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0x5315ce))
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return err
	}
	issuer := &x509.Certificate{
		Subject: pkix.Name{CommonName: "oracle authority"}, IsCA: true, BasicConstraintsValid: true,
	}
	for i := 0; i < count; i++ {
		subject, err := randomSubject(rng)
		if err != nil {
			return err
		}
		begin := time.Date(1950+rng.IntN(140), time.Month(1+rng.IntN(12)), 1+rng.IntN(31),
			rng.IntN(24), rng.IntN(60), rng.IntN(60), 0, time.UTC)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(rng.Int64N(1 << 60)),
			NotBefore:    begin,
			NotAfter:     begin.Add(time.Duration(rng.IntN(1_000_000)) * time.Minute),
			RawSubject:   subject,
		}
		switch rng.IntN(6) {
		case 0:
			template.BasicConstraintsValid = true
			template.IsCA = rng.IntN(2) == 0
			template.MaxPathLenZero = template.IsCA && rng.IntN(2) == 0
		case 1:
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		case 2:
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		case 3:
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
			template.DNSNames = []string{"client.example"}
		case 4:
			template.KeyUsage = x509.KeyUsageDigitalSignature
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			template.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3, 4}}
		}
		der, err := x509.CreateCertificate(crand.Reader, template, issuer, &key.PublicKey, key)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, hex.EncodeToString(der)); err != nil {
			return err
		}
	}
	return nil
}

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

func randomSubject(rng *rand.Rand) ([]byte, error) {
	// One in three subjects is wild; of the others most give an identity.
	wild := rng.IntN(3) == 0
	var sets []byte
	for n := rng.IntN(7); n > 0; n-- {
		var values []byte
		members := 1
		if rng.IntN(4) == 0 {
			members = rng.IntN(4)
		}
		for ; members > 0; members-- {
			tag, bytes := randomString(rng, wild)
			der, err := asn1.Marshal(attribute{randomType(rng), asn1.RawValue{Tag: tag, Bytes: bytes}})
			if err != nil {
				return nil, err
			}
			values = append(values, der...)
		}
		set, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: values})
		if err != nil {
			return nil, err
		}
		sets = append(sets, set...)
	}
	subject, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: sets})
	if err != nil {
		return nil, err
	}
	if rng.IntN(10) == 0 && len(subject) > 2 {
		for n := 1 + rng.IntN(3); n > 0; n-- {
			subject[2+rng.IntN(len(subject)-2)] = byte(rng.IntN(256))
		}
	}
	return subject, nil
}

func randomType(rng *rand.Rand) asn1.ObjectIdentifier {
	types := []asn1.ObjectIdentifier{
		oidCommonName, oidCommonName, oidCommonName, oidOrganization, oidOrganization, oidOrganization,
		oidUID, oidUnit, oidCountry, oidAlmostUID, oidLong, oidEmail,
	}
	return types[rng.IntN(len(types))]
}

func randomString(rng *rand.Rand, wild bool) (int, []byte) {
	ordinary := []string{
		"admin", "system:masters", "system:node:worker-1", "team a", "a/O=system:masters", "x,y+z",
		"dev-team", "user@example.com", "0123", "(ops)", "kubernetes-admin", "q",
	}
	odd := []string{
		"", " ", " admin", "admin ", "\tadmin", "admin\x00.evil", "bob\r\nX-Remote-Group: system:masters",
		"Zoë", "日本語", "\u00a0admin", "admin\u0085", "a\x7fb", "\xff\xfe", "\xc0\xaf", "\xed\xa0\x80",
		"under_score", "star*", "and&", "at@", "\x1f", "👩‍💻", strings.Repeat("g", 300), "é\x80",
	}
	text := ordinary[rng.IntN(len(ordinary))]
	if !wild && rng.IntN(8) != 0 {
		return asn1.TagUTF8String, []byte(text)
	}
	if rng.IntN(3) == 0 {
		text = odd[rng.IntN(len(odd))]
	}
	if rng.IntN(20) == 0 {
		bytes := make([]byte, rng.IntN(12))
		for i := range bytes {
			bytes[i] = byte(rng.IntN(256))
		}
		text = string(bytes)
	}
	switch rng.IntN(16) {
	case 0, 1, 2, 3:
		return asn1.TagPrintableString, []byte(text)
	case 4:
		return asn1.TagIA5String, []byte(text)
	case 5:
		return asn1.TagT61String, []byte(text)
	case 6:
		wide := make([]byte, 0, 2*len(text))
		for i := 0; i < len(text); i++ {
			wide = append(wide, 0, text[i])
		}
		return asn1.TagBMPString, wide
	case 7:
		return []int{asn1.TagNumericString, asn1.TagGeneralString, 28, asn1.TagOctetString}[rng.IntN(4)], []byte(text)
	}
	return asn1.TagUTF8String, []byte(text)
}
