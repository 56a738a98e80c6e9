// SPDX-License-Identifier: GPL-3.0-or-later
//
// Certificate authorities and leaves, made anew for each run. A leaf's subject can
// be given as raw attributes, so that a test can make what no ordinary tool makes:
// several common names, odd string types, a repeated UID.

package harness

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unicode/utf16"
)

// Object identifiers of subject attributes. The last one carries a user's UID
// (apimachinery pkg/apis/asn1).
var (
	OIDCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	OIDOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	OIDUnit         = asn1.ObjectIdentifier{2, 5, 4, 11}
	OIDUserID       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}
)

var serial atomic.Int64

// Authority is a certificate authority with its key.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	PEM         []byte
}

// Pair is a leaf with its key.
type Pair struct {
	Certificate *x509.Certificate
	PEM, KeyPEM []byte
	TLS         tls.Certificate
}

// Attribute is one attribute of a subject; every attribute gets an RDN of its own unless Joined
// puts it into the RDN of the one before.
type Attribute struct {
	OID    asn1.ObjectIdentifier
	Value  asn1.RawValue
	Joined bool
}

// Leaf says what a certificate is to hold.
type Leaf struct {
	CommonName    string
	Organizations []string
	Subject       []Attribute // Replaces CommonName and Organizations.
	Names         []string    // DNS names; loopback is always among a serving certificate's addresses.
	Serving       bool
	IsAuthority   bool
	NotBefore     time.Time
	NotAfter      time.Time
}

// UTF8 makes an attribute of type UTF8String.
func UTF8(oid asn1.ObjectIdentifier, value string) Attribute {
	return Attribute{OID: oid, Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(value)}}
}

// BMP makes an attribute of type BMPString: two bytes for each character.
func BMP(oid asn1.ObjectIdentifier, value string) Attribute {
	var bytes []byte
	for _, unit := range utf16.Encode([]rune(value)) {
		bytes = append(bytes, byte(unit>>8), byte(unit))
	}
	return Attribute{OID: oid, Value: asn1.RawValue{Tag: asn1.TagBMPString, Bytes: bytes}}
}

// NewAuthority makes an authority. Two of the same name differ in their keys alone.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial.Add(1)),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(90 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{
		Certificate: certificate,
		Key:         key,
		PEM:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}

// Pool returns the authority as a pool of roots.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// Issue makes a leaf.
func (a *Authority) Issue(leaf Leaf) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial.Add(1)),
		Subject:               pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organizations},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(60 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  leaf.IsAuthority,
		DNSNames:              leaf.Names,
	}
	if leaf.IsAuthority {
		template.KeyUsage |= x509.KeyUsageCertSign
	}
	if leaf.Serving {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	if !leaf.NotBefore.IsZero() {
		template.NotBefore = leaf.NotBefore
	}
	if !leaf.NotAfter.IsZero() {
		template.NotAfter = leaf.NotAfter
	}
	if leaf.Subject != nil {
		if template.RawSubject, err = encodeSubject(leaf.Subject); err != nil {
			return nil, err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	pair := &Pair{
		Certificate: certificate,
		PEM:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	// Leaf stays unset: the key and the certificate are all that a handshake needs, and a leaf
	// that Go itself would not verify must be offered all the same.
	pair.TLS = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pair, nil
}

// CredentialID is what a server derives from the leaf for authentication.kubernetes.io/credential-id.
func (p *Pair) CredentialID() string {
	sum := sha256.Sum256(p.Certificate.Raw)
	return "X509SHA256=" + hex.EncodeToString(sum[:])
}

// Write puts certificate and key into dir and returns their paths.
func (p *Pair) Write(dir, name string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if err = os.WriteFile(certFile, p.PEM, 0o600); err != nil {
		return "", "", err
	}
	return certFile, keyFile, os.WriteFile(keyFile, p.KeyPEM, 0o600)
}

func encodeSubject(attributes []Attribute) ([]byte, error) {
	type pair struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type setOfPairs []pair
	var sequence []asn1.RawValue
	for start := 0; start < len(attributes); {
		end := start + 1
		for end < len(attributes) && attributes[end].Joined {
			end++
		}
		var set setOfPairs
		for _, attribute := range attributes[start:end] {
			set = append(set, pair{attribute.OID, attribute.Value})
		}
		der, err := asn1.MarshalWithParams(set, "set")
		if err != nil {
			return nil, fmt.Errorf("encode subject: %w", err)
		}
		sequence = append(sequence, asn1.RawValue{FullBytes: der})
		start = end
	}
	return asn1.Marshal(sequence)
}
