// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// judgeChains answers lines of "PURPOSE NOW ANCHORS CHAIN" (certificates as hexadecimal DER, commas between them) as an
// API server (purpose "client") or a client of one ("server") judges the chain:
//
//	ok ENDS      it verifies; the earliest end of validity of each path that was found, in seconds
//	none WHY     it does not, and an API server goes on as if no certificate had been shown
//	dead WHY     the handshake fails (crypto/tls)
//	file WHY     the trusted certificates cannot be read
func judgeChains(in *bufio.Scanner, out *bufio.Writer) error {
	for in.Scan() {
		columns := strings.Split(in.Text(), " ")
		if len(columns) != 4 {
			return fmt.Errorf("a line of %d columns", len(columns))
		}
		seconds, err := strconv.ParseInt(columns[1], 10, 64)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, judgeChain(columns[0], time.Unix(seconds, 0), columns[2], columns[3]))
	}
	return in.Err()
}

func parseList(list string) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for _, text := range strings.Split(list, ",") {
		der, err := hex.DecodeString(text)
		if err != nil {
			return nil, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}

// What crypto/tls makes of a chain before and after its verification (processCertsFromClient,
// verifyServerCertificate, and the check of CertificateVerify).
func handshakeFails(chain []*x509.Certificate) string {
	for _, certificate := range chain {
		if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > 8192 {
			return "RSA key too large"
		}
	}
	switch key := chain[0].PublicKey.(type) {
	case *rsa.PublicKey:
		if err := rsa.VerifyPKCS1v15(key, 0, make([]byte, 32), make([]byte, key.Size())); err != rsa.ErrVerification {
			return "RSA key is unusable"
		}
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return "" // TLS 1.2 takes it
		}
	default:
		return "unsupported public key"
	}
	return ""
}

func judgeChain(purpose string, now time.Time, anchors, sent string) string {
	roots := x509.NewCertPool()
	trusted, err := parseList(anchors)
	if err != nil {
		return "file " + escape(err.Error())
	}
	for _, certificate := range trusted {
		roots.AddCert(certificate)
	}
	chain, err := parseList(sent)
	if err != nil {
		return "dead " + escape(err.Error())
	}
	if why := handshakeFails(chain); why != "" {
		return "dead " + escape(why)
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	// k8s.io/apiserver pkg/authentication/request/x509 DefaultVerifyOptions; crypto/tls for servers.
	usage := x509.ExtKeyUsageClientAuth
	if purpose == "server" {
		usage = x509.ExtKeyUsageServerAuth
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return "none " + escape(err.Error())
	}
	answer := "ok"
	for _, path := range paths {
		end := path[0].NotAfter
		for _, certificate := range path {
			if certificate.NotAfter.Before(end) {
				end = certificate.NotAfter
			}
		}
		answer += fmt.Sprintf(" %d", end.Unix())
	}
	return answer
}
