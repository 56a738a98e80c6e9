// SPDX-License-Identifier: GPL-3.0-or-later

// Command oracle answers what a Kubernetes API server thinks of a request or of a certificate. The
// differential tests of src/kubernetes compare our own answers with it, line by line.
//
//	oracle request-info              reads "METHOD PATH" lines, writes one line of tab separated facts each
//	oracle certificates              reads certificates as hexadecimal DER, writes what their subjects say
//	oracle make-certificates N SEED  writes N certificates with odd subjects as hexadecimal DER
//	oracle chains                    reads trusted certificates and chains, writes whether they verify
//	oracle make-chains N SEED        writes N of them, from a grammar
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 4<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	switch {
	case len(args) == 1 && args[0] == "request-info":
		return requestInfo(in, out)
	case len(args) == 1 && args[0] == "certificates":
		return readCertificates(in, out)
	case len(args) == 1 && args[0] == "chains":
		return judgeChains(in, out)
	case len(args) == 3 && (args[0] == "make-certificates" || args[0] == "make-chains"):
		count, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		seed, err := strconv.ParseUint(args[2], 10, 64)
		if err != nil {
			return err
		}
		if args[0] == "make-chains" {
			return makeChains(out, count, seed)
		}
		return makeCertificates(out, count, seed)
	}
	return fmt.Errorf("usage: oracle request-info | certificates | make-certificates N SEED | chains | make-chains N SEED")
}

// escape makes any string safe as one tab separated column: everything that is not printable ASCII,
// and the percent sign, becomes %XX.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	plain := true
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '%' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	out := make([]byte, 0, 3*len(s))
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '%' {
			out = append(out, '%', digits[s[i]>>4], digits[s[i]&15])
		} else {
			out = append(out, s[i])
		}
	}
	return string(out)
}
