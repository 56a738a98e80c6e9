// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"time"
)

// The time at which the chains are judged, and what lies around it.
var judgedAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// poolKey is a key of the pool that all chains are made with.
type poolKey struct {
	public []byte // SubjectPublicKeyInfo
	signer crypto.Signer
	weak   *weakKey
}

// weakKey is an RSA key that crypto/rsa neither makes nor uses.
type weakKey struct {
	n, d *big.Int
	size int
}

func makeWeakKey(bits int) (*weakKey, []byte, error) {
	e := big.NewInt(65537)
	for {
		p, err := crand.Prime(crand.Reader, bits/2)
		if err != nil {
			return nil, nil, err
		}
		q, err := crand.Prime(crand.Reader, bits/2)
		if err != nil {
			return nil, nil, err
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		n := new(big.Int).Mul(p, q)
		if d == nil || n.BitLen() != bits {
			continue
		}
		public, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 65537})
		return &weakKey{n: n, d: d, size: bits / 8}, public, err
	}
}

// sign makes the PKCS #1 v1.5 signature with SHA-256.
func (k *weakKey) sign(data []byte) []byte {
	digest := sha256.Sum256(data)
	info := append([]byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
		0x05, 0x00, 0x04, 0x20}, digest[:]...)
	padded := []byte{0, 1}
	for len(padded) < k.size-len(info)-1 {
		padded = append(padded, 0xff)
	}
	padded = append(append(padded, 0), info...)
	signature := new(big.Int).Exp(new(big.Int).SetBytes(padded), k.d, k.n)
	return signature.FillBytes(make([]byte, k.size))
}

func makePool() ([]poolKey, error) {
	var pool []poolKey
	add := func(signer crypto.Signer, err error) error {
		if err != nil {
			return err
		}
		public, err := x509.MarshalPKIXPublicKey(signer.Public())
		pool = append(pool, poolKey{public: public, signer: signer})
		return err
	}
	for _, curve := range []elliptic.Curve{
		elliptic.P256(), elliptic.P256(), elliptic.P256(), elliptic.P256(), elliptic.P384(), elliptic.P521(), elliptic.P224(),
	} {
		key, err := ecdsa.GenerateKey(curve, crand.Reader)
		if err := add(key, err); err != nil {
			return nil, err
		}
	}
	for range 2 {
		_, key, err := ed25519.GenerateKey(crand.Reader)
		if err := add(key, err); err != nil {
			return nil, err
		}
	}
	for _, bits := range []int{1024, 2048, 2048, 3072} {
		key, err := rsa.GenerateKey(crand.Reader, bits)
		if err := add(key, err); err != nil {
			return nil, err
		}
	}
	weak, public, err := makeWeakKey(768)
	pool = append(pool, poolKey{public: public, weak: weak})
	return pool, err
}

func tlv(tag byte, parts ...[]byte) []byte {
	var content []byte
	for _, part := range parts {
		content = append(content, part...)
	}
	n := len(content)
	switch {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, content...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
	}
}

func oid(numbers ...int) []byte {
	der, err := asn1.Marshal(asn1.ObjectIdentifier(numbers))
	if err != nil {
		panic(err)
	}
	return der
}

func name(commonName string) []byte {
	if commonName == "" {
		return tlv(0x30)
	}
	return tlv(0x30, tlv(0x31, tlv(0x30, oid(2, 5, 4, 3), tlv(0x0c, []byte(commonName)))))
}

// entity is a certificate, and whoever holds it.
type entity struct {
	der     []byte
	subject string
	key     int
	keyID   []byte
}

type generator struct {
	rng  *rand.Rand
	pool []poolKey
}

func (g *generator) oneIn(n int) bool { return g.rng.IntN(n) == 0 }

func pick[T any](g *generator, choices ...T) T { return choices[g.rng.IntN(len(choices))] }

// The AlgorithmIdentifier of a signature and the signature. Sometimes one that does not fit.
func (g *generator) sign(key int, tbs func(algorithm []byte) []byte) ([]byte, []byte, []byte) {
	null := []byte{5, 0}
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA256, crypto.SHA256, crypto.SHA384, crypto.SHA512}
	hash := pick(g, hashes...)
	if g.oneIn(40) {
		hash = crypto.SHA1
	}
	holder := g.pool[key]
	digestOf := func(data []byte) []byte {
		if hash == crypto.SHA1 {
			sum := sha1.Sum(data)
			return sum[:]
		}
		h := hash.New()
		h.Write(data)
		return h.Sum(nil)
	}
	if holder.weak != nil {
		algorithm := tlv(0x30, oid(1, 2, 840, 113549, 1, 1, 11), null)
		data := tbs(algorithm)
		return data, algorithm, holder.weak.sign(data)
	}
	switch signer := holder.signer.(type) {
	case ed25519.PrivateKey:
		algorithm := tlv(0x30, oid(1, 3, 101, 112))
		if g.oneIn(40) {
			algorithm = tlv(0x30, oid(1, 3, 101, 112), null)
		}
		data := tbs(algorithm)
		return data, algorithm, ed25519.Sign(signer, data)
	case *ecdsa.PrivateKey:
		last := map[crypto.Hash]int{crypto.SHA256: 2, crypto.SHA384: 3, crypto.SHA512: 4}[hash]
		id := oid(1, 2, 840, 10045, 4, 3, last)
		if hash == crypto.SHA1 {
			id = oid(1, 2, 840, 10045, 4, 1)
		}
		algorithm := tlv(0x30, id)
		if g.oneIn(40) {
			algorithm = tlv(0x30, id, null)
		}
		data := tbs(algorithm)
		signature, err := ecdsa.SignASN1(crand.Reader, signer, digestOf(data))
		if err != nil {
			panic(err)
		}
		return data, algorithm, signature
	case *rsa.PrivateKey:
		if g.oneIn(3) {
			return g.signPSS(signer, hash, digestOf, tbs)
		}
		last := map[crypto.Hash]int{crypto.SHA1: 5, crypto.SHA256: 11, crypto.SHA384: 12, crypto.SHA512: 13}[hash]
		algorithm := tlv(0x30, oid(1, 2, 840, 113549, 1, 1, last), null)
		if g.oneIn(40) {
			algorithm = tlv(0x30, oid(1, 2, 840, 113549, 1, 1, last))
		}
		data := tbs(algorithm)
		signature, err := rsa.SignPKCS1v15(nil, signer, hash, digestOf(data))
		if err != nil {
			panic(err)
		}
		return data, algorithm, signature
	}
	panic("a key of no kind")
}

func (g *generator) signPSS(key *rsa.PrivateKey, hash crypto.Hash, digestOf func([]byte) []byte,
	tbs func([]byte) []byte) ([]byte, []byte, []byte) {
	hashOID := oid(2, 16, 840, 1, 101, 3, 4, 2, map[crypto.Hash]int{crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3}[hash])
	if hash == crypto.SHA1 {
		hashOID = oid(1, 3, 14, 3, 2, 26)
	}
	maskOID := hashOID
	if g.oneIn(20) {
		maskOID = oid(2, 16, 840, 1, 101, 3, 4, 2, 1)
	}
	salt := hash.Size()
	if g.oneIn(20) || key.Size()-2-hash.Size() < salt {
		salt = 20
	}
	hashAI := tlv(0x30, hashOID, []byte{5, 0})
	maskAI := tlv(0x30, maskOID, []byte{5, 0})
	if g.oneIn(4) {
		hashAI = tlv(0x30, hashOID)
	}
	parameters := [][]byte{tlv(0xa0, hashAI), tlv(0xa1, tlv(0x30, oid(1, 2, 840, 113549, 1, 1, 8), maskAI))}
	if salt != 20 || g.oneIn(2) {
		parameters = append(parameters, tlv(0xa2, tlv(2, []byte{byte(salt)})))
	}
	if g.oneIn(5) {
		parameters = append(parameters, tlv(0xa3, tlv(2, []byte{pick[byte](g, 1, 1, 2)})))
	}
	algorithm := tlv(0x30, oid(1, 2, 840, 113549, 1, 1, 10), tlv(0x30, parameters...))
	data := tbs(algorithm)
	signature, err := rsa.SignPSS(crand.Reader, key, hash, digestOf(data), &rsa.PSSOptions{SaltLength: salt, Hash: hash})
	if err != nil {
		panic(err)
	}
	return data, algorithm, signature
}

func boolean(value bool) []byte {
	if value {
		return []byte{1, 1, 0xff}
	}
	return []byte{1, 1, 0}
}

func extension(id []byte, critical bool, value []byte) []byte {
	if critical {
		return tlv(0x30, id, boolean(true), tlv(4, value))
	}
	return tlv(0x30, id, tlv(4, value))
}

func (g *generator) alternativeNames() []byte {
	var names [][]byte
	for n := 1 + g.rng.IntN(3); n > 0; n-- {
		switch g.rng.IntN(12) {
		case 0:
			names = append(names, tlv(0x87, pick(g, []byte{10, 0, 0, 1}, []byte{10, 1, 2, 3}, []byte{192, 168, 0, 1}, []byte{10, 0, 1})))
		case 1:
			address := make([]byte, 16)
			copy(address, pick(g, []byte{0xfd}, []byte{0x20, 0x01, 0x0d, 0xb8}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}))
			names = append(names, tlv(0x87, address))
		case 2:
			names = append(names, tlv(0x81, []byte(pick(g, "a@example.com", "b@x.test", "nobody", "é@x"))))
		case 3:
			names = append(names, tlv(0x86, []byte(pick(g, "spiffe://cluster.local/ns/a/sa/b", "urn:uuid:1-2-3",
				"https://x.test/", "https://x.test:443/a?b", "http://%zz", "a b", ""))))
		case 4:
			names = append(names, tlv(0xa4, name("directory")))
		default:
			names = append(names, tlv(0x82, []byte(pick(g, "x.test", "a.x.test", "b.a.x.test", "X.Test", "y.test", "ax.test",
				"*.x.test", "*.a.x.test", "*", "localhost", "x.test.", ".x.test", "a..test", "", "kubernetes.default.svc"))))
		}
	}
	return tlv(0x30, names...)
}

func (g *generator) nameConstraints() []byte {
	subtrees := func() []byte {
		var trees []byte
		for n := g.rng.IntN(3); n > 0; n-- {
			var base []byte
			switch g.rng.IntN(10) {
			case 0:
				base = tlv(0x87, pick(g, []byte{10, 0, 0, 0, 255, 0, 0, 0}, []byte{10, 0, 0, 0, 255, 255, 0, 0},
					[]byte{192, 168, 0, 0, 255, 255, 0, 0}, []byte{10, 0, 0, 0, 255, 0, 255, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 0}))
			case 1:
				network := make([]byte, 32)
				network[0], network[16] = 0xfd, 0xff
				base = tlv(0x87, network)
			case 2:
				base = tlv(0x81, []byte(pick(g, "example.com", "a@example.com", ".x.test")))
			case 3:
				base = tlv(0x86, []byte(pick(g, "cluster.local", ".x.test", "10.0.0.1")))
			case 4:
				base = tlv(0xa4, name("directory"))
			default:
				base = tlv(0x82, []byte(pick(g, "x.test", "a.x.test", ".x.test", "test", "", "X.TEST", "b.x.test", "svc", "x.test.")))
			}
			trees = append(trees, tlv(0x30, base)...)
		}
		return trees
	}
	var parts [][]byte
	if permitted := subtrees(); len(permitted) > 0 || g.oneIn(20) {
		parts = append(parts, tlv(0xa0, permitted))
	}
	if excluded := subtrees(); len(excluded) > 0 || g.oneIn(20) {
		parts = append(parts, tlv(0xa1, excluded))
	}
	return tlv(0x30, parts...)
}

func (g *generator) extendedUsages() []byte {
	usage := func(last int) []byte { return oid(1, 3, 6, 1, 5, 5, 7, 3, last) }
	var list [][]byte
	switch g.rng.IntN(14) {
	case 0:
	case 1:
		list = append(list, usage(3))
	case 2:
		list = append(list, oid(1, 2, 3, 4))
	case 3, 4:
		list = append(list, oid(2, 5, 29, 37, 0))
	case 5, 6:
		list = append(list, usage(1))
	case 7, 8:
		list = append(list, usage(2))
	default:
		list = append(list, usage(1), usage(2))
	}
	return tlv(0x30, list...)
}

func (g *generator) extensions(ca bool, holder entity, issuerKeyID []byte) []byte {
	var list [][]byte
	add := func(critical bool, value []byte, numbers ...int) {
		list = append(list, extension(oid(numbers...), critical, value))
	}
	if ca || g.oneIn(6) {
		flag := ca
		if g.oneIn(25) {
			flag = !flag
		}
		var parts [][]byte
		if flag || g.oneIn(3) {
			parts = append(parts, boolean(flag))
		}
		if g.oneIn(4) {
			parts = append(parts, tlv(2, []byte{byte(g.rng.IntN(3))}))
		}
		if !g.oneIn(40) {
			add(g.oneIn(2), tlv(0x30, parts...), 2, 5, 29, 19)
		}
	}
	if g.oneIn(2) {
		usage := []byte{7, 0x80}
		if ca {
			usage = []byte{1, 0x06}
		}
		if g.oneIn(20) {
			usage = pick(g, []byte{0}, []byte{7, 0x80}, []byte{5, 0x20}, []byte{7, 0x00, 0x80}, []byte{7, 0xff}, []byte{8, 1}, []byte{2, 4})
		}
		add(true, tlv(3, usage), 2, 5, 29, 15)
	}
	if (!ca && !g.oneIn(4)) || g.oneIn(6) {
		add(g.oneIn(3), g.extendedUsages(), 2, 5, 29, 37)
	}
	if len(holder.keyID) > 0 {
		add(g.oneIn(200), tlv(4, holder.keyID), 2, 5, 29, 14)
	}
	if !g.oneIn(3) {
		id := issuerKeyID
		if g.oneIn(8) {
			id = []byte("another")
		}
		value := tlv(0x30, tlv(0x80, id))
		if len(id) == 0 {
			value = tlv(0x30)
		}
		add(g.oneIn(200), value, 2, 5, 29, 35)
	}
	if g.oneIn(4) {
		add(g.oneIn(4), g.alternativeNames(), 2, 5, 29, 17)
	}
	if ca && g.oneIn(6) {
		add(g.oneIn(2), g.nameConstraints(), 2, 5, 29, 30)
	}
	if g.oneIn(30) {
		add(g.oneIn(2), tlv(0x30, tlv(0x30, oid(1, 2, 3, 4))), 2, 5, 29, 32)
	}
	if ca && g.oneIn(60) {
		add(true, tlv(0x30, tlv(0x80, []byte{byte(g.rng.IntN(2))})), 2, 5, 29, 36)
	}
	if ca && g.oneIn(100) {
		add(g.oneIn(2), tlv(0x30, tlv(0x30, oid(1, 2, 3, 4), oid(1, 2, 3, 5))), 2, 5, 29, 33)
	}
	if g.oneIn(100) {
		add(g.oneIn(2), tlv(2, []byte{0}), 2, 5, 29, 54)
	}
	if g.oneIn(30) {
		add(g.oneIn(2), tlv(0x30, tlv(0x30, tlv(0xa0, tlv(0xa0, tlv(0x86, []byte("http://x/")))))), 2, 5, 29, 31)
	}
	if g.oneIn(30) {
		add(g.oneIn(20), tlv(0x30, tlv(0x30, oid(1, 3, 6, 1, 5, 5, 7, 48, 1), tlv(0x86, []byte("http://x/")))), 1, 3, 6, 1, 5, 5, 7, 1, 1)
	}
	if g.oneIn(25) {
		add(g.oneIn(2), tlv(5), 1, 2, 3, 4, 5)
	}
	if g.oneIn(200) && len(list) > 0 {
		list = append(list, list[0])
	}
	g.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return tlv(0xa3, tlv(0x30, list...))
}

func utc(t time.Time) []byte {
	if t.Year() >= 2050 {
		return tlv(0x18, []byte(t.Format("20060102150405Z")))
	}
	return tlv(0x17, []byte(t.Format("060102150405Z")))
}

// issue makes a certificate of `holder` that `issuer` signs; both may be the same.
func (g *generator) issue(issuer, holder entity, ca bool) entity {
	begin := judgedAt.AddDate(-1-g.rng.IntN(3), 0, 0)
	end := judgedAt.AddDate(0, 0, 1+g.rng.IntN(10000))
	switch g.rng.IntN(50) {
	case 0:
		end = judgedAt.Add(-time.Second)
	case 1:
		begin = judgedAt.Add(time.Second)
	case 2:
		end = judgedAt
	case 3:
		begin = judgedAt
	}
	signer := issuer.key
	issuerName := issuer.subject
	if g.oneIn(40) {
		signer = g.rng.IntN(len(g.pool))
	}
	if g.oneIn(60) {
		issuerName = pick(g, "ca-0", "ca-1", "nobody")
	}
	version := 3
	if g.oneIn(12) {
		version = 1 + g.rng.IntN(2)
	}
	data, algorithm, signature := g.sign(signer, func(algorithm []byte) []byte {
		var parts [][]byte
		if version > 1 {
			parts = append(parts, tlv(0xa0, tlv(2, []byte{byte(version - 1)})))
		}
		serial := tlv(2, []byte{byte(1 + g.rng.IntN(127)), byte(g.rng.IntN(256))})
		if g.oneIn(50) {
			serial = pick(g, []byte{2, 1, 0}, []byte{2, 1, 0xff}, []byte{2, 2, 0, 1})
		}
		parts = append(parts, serial, algorithm, name(issuerName), tlv(0x30, utc(begin), utc(end)),
			name(holder.subject), g.pool[holder.key].public)
		if version == 3 && !g.oneIn(30) {
			parts = append(parts, g.extensions(ca, holder, issuer.keyID))
		}
		return tlv(0x30, parts...)
	})
	holder.der = tlv(0x30, data, algorithm, tlv(3, []byte{0}, signature))
	if g.oneIn(60) {
		holder.der[g.rng.IntN(len(holder.der))] ^= 1 << g.rng.IntN(8)
	}
	return holder
}

func (g *generator) newEntity(subject string) entity {
	// Most keys are good ones.
	key := g.rng.IntN(len(g.pool))
	if g.oneIn(2) {
		key = g.rng.IntN(4)
	}
	e := entity{subject: subject, key: key}
	if !g.oneIn(4) {
		e.keyID = []byte(fmt.Sprintf("key-%d", key))
		if g.oneIn(6) {
			e.keyID = []byte("other")
		}
	}
	return e
}

func (g *generator) chain() string {
	var authorities []entity
	for n := 1 + g.rng.IntN(2); n > 0; n-- {
		root := g.newEntity(pick(g, "ca-0", "ca-1", "ca-2"))
		authorities = append(authorities, g.issue(root, root, true))
	}
	roots := len(authorities)
	for n := g.rng.IntN(5); n > 0; n-- {
		issuer := authorities[g.rng.IntN(len(authorities))]
		holder := g.newEntity(pick(g, "ca-0", "ca-3", "ca-4", "ca-5", "ca-6"))
		if g.oneIn(4) { // cross-signed
			holder = authorities[g.rng.IntN(len(authorities))]
		}
		authorities = append(authorities, g.issue(issuer, holder, true))
	}
	issuer := authorities[g.rng.IntN(len(authorities))]
	if g.oneIn(2) {
		issuer = authorities[len(authorities)-1]
	}
	leaf := g.issue(issuer, g.newEntity(pick(g, "alice", "alice", "alice", "", "ca-0")), g.oneIn(12))

	var anchors, sent []string
	for i, authority := range authorities {
		text := hex.EncodeToString(authority.der)
		if (i < roots && !g.oneIn(8)) || g.oneIn(12) {
			anchors = append(anchors, text)
		}
		if (i >= roots && !g.oneIn(12)) || g.oneIn(6) {
			sent = append(sent, text)
		}
	}
	leafText := hex.EncodeToString(leaf.der)
	if g.oneIn(20) || len(anchors) == 0 {
		anchors = append(anchors, leafText)
	}
	if g.oneIn(20) {
		sent = append(sent, leafText)
	}
	if g.oneIn(2) {
		g.rng.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	}
	sent = append([]string{leafText}, sent...)
	return fmt.Sprintf("%s %d %s %s", pick(g, "client", "server"), judgedAt.Unix(), strings.Join(anchors, ","),
		strings.Join(sent, ","))
}

// makeChains writes lines for judgeChains from a grammar of what authorities do, rightly and wrongly.
func makeChains(out *bufio.Writer, count int, seed uint64) error {
	pool, err := makePool()
	if err != nil {
		return err
	}
	g := &generator{rng: rand.New(rand.NewPCG(seed, 0xc4a15)), pool: pool}
	for range count {
		if _, err := fmt.Fprintln(out, g.chain()); err != nil {
			return err
		}
	}
	return nil
}
