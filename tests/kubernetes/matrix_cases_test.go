// SPDX-License-Identifier: GPL-3.0-or-later
//
// The cases of the matrix: where a request ends (M), and who it comes from (S).

package kubernetes

import (
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"sluice/tests/kubernetes/harness"
)

// head is a request of the given fields, each with its line end, and without the empty line.
func head(method, target, fields string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: k\r\nWHOX-Mark: MARK\r\n" + fields
}

const (
	smuggled  = "GET /smuggled HTTP/1.1\r\nHost: k\r\nX-Mark: MARK-smuggled\r\nX-Remote-User: admin\r\n\r\n"
	lastChunk = "0\r\n\r\n"
)

func wireCases() []wireCase {
	var all []wireCase
	for _, part := range [][]wireCase{
		lengthAndCoding(), lengths(), codings(), chunks(), served(), targets(), upgradesToHTTP2(), methodsAndVersions(),
		spellings(), everyByte(), fieldLines(),
	} {
		all = append(all, part...)
	}
	return all
}

// inPost makes a POST of fields and a body.
func inPost(rule, name, reason, fields, body string) wireCase {
	return wireCase{rule: rule, name: name, reason: reason, request: head("POST", "/api", fields) + "\r\n" + body}
}

func lengthAndCoding() (all []wireCase) { // M1
	for _, length := range []string{"0", "5", "6", "1000"} {
		for _, coding := range []string{"chunked", "Chunked", "identity", "x"} {
			for i, fields := range []string{
				"Content-Length: " + length + "\r\nTransfer-Encoding: " + coding + "\r\n",
				"Transfer-Encoding: " + coding + "\r\nContent-Length: " + length + "\r\n",
				"Content-Length: " + length + "\r\nX: y\r\ntransfer-encoding: " + coding + "\r\n",
			} {
				reason := "length_and_coding"
				if i == 1 && !strings.EqualFold(coding, "chunked") {
					reason = "coding" // It is the first thing that is wrong.
				}
				all = append(all, inPost("M1", fields, reason, fields, lastChunk+smuggled))
			}
		}
	}
	return all
}

func lengths() (all []wireCase) { // M2
	for value, reason := range map[string]string{
		"5, 5": "length", "5, 6": "length", "5,5": "length", "+5": "length", "-5": "length", "-0": "length", "05": "length", "00": "length",
		"0x5": "length", "5 ": "length", "5\t": "length", "5.0": "length", "5e0": "length", "five": "length", "\"5\"": "length", "5;": "length",
		"18446744073709551616": "length", "18446744073709551621": "length", "9223372036854775808": "length", "1000000000000000000": "length",
		"": "length", "5 5": "length", "5_0": "length", "\xb2": "length", "5\x00": "length", "5\x0b": "length",
	} {
		all = append(all, inPost("M2", fmt.Sprintf("length %+q", value), reason, "Content-Length: "+value+"\r\n", "hello"+smuggled))
	}
	for _, pair := range [][2]string{{"5", "5"}, {"5", "0"}, {"0", "5"}, {"5", "6"}, {"5", "x"}} {
		for _, between := range []string{"", "X: y\r\n"} {
			fields := "Content-Length: " + pair[0] + "\r\n" + between + "content-length: " + pair[1] + "\r\n"
			all = append(all, inPost("M2", fields, "length_repeated", fields, "hello"+smuggled))
		}
	}
	return all
}

func codings() (all []wireCase) { // M3
	for value, reason := range map[string]string{
		"chunked, chunked": "coding", "chunked,": "coding", ",chunked": "coding", ", chunked": "coding", "identity": "coding", "xchunked": "coding",
		"chunkedx": "coding", "chunked;a=b": "coding", "chunked;": "coding", "gzip, chunked": "coding", "chunked, gzip": "coding", "chunked, identity": "coding",
		"identity, chunked": "coding", "\"chunked\"": "coding", "": "coding", "x": "coding", "cHuNkEd, x": "coding", "chunk ed": "coding",
		"\x0bchunked": "field_value", "chunked\x0b": "field_value", "\x0cchunked": "field_value", "chunked\x00": "field_value", "\x00chunked": "field_value",
		"\xa0chunked": "coding", "chunked\x7f": "field_value",
		// Folds.
		"\r\n chunked": "field_value", "\r\n\tchunked": "field_value", "chunked\r\n ": "field_value",
	} {
		all = append(all, inPost("M3", fmt.Sprintf("coding %+q", value), reason, "Transfer-Encoding: "+value+"\r\n", lastChunk+smuggled))
	}
	for name, reason := range map[string]string{
		"Transfer_Encoding": "framing_name", "transfer_encoding": "framing_name", "Content_Length": "framing_name",
		"Transfer-Encoding ": "field_name", "Transfer-Encoding\t": "field_name", " Transfer-Encoding": "field_value" /* a fold of the line before */, "Transfer\x00Encoding": "field_name",
		"Transfer-Encoding\x0b": "field_name",
	} {
		all = append(all, inPost("M3", fmt.Sprintf("name %+q", name), reason, name+": chunked\r\n", lastChunk+smuggled))
	}
	repeated := "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
	all = append(all, inPost("M3", "twice", "coding", repeated, lastChunk+smuggled),
		inPost("M3", "twice, once not chunked", "coding", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", lastChunk+smuggled))
	old := strings.Replace(head("POST", "/api", "Transfer-Encoding: chunked\r\n"), "HTTP/1.1", "HTTP/1.0", 1)
	return append(all, wireCase{rule: "M3", name: "in HTTP/1.0", reason: "coding", request: old + "\r\n" + lastChunk + smuggled})
}

func chunks() (all []wireCase) { // M4
	const fields = "Transfer-Encoding: chunked\r\n"
	bad := func(reason, body string) {
		c := inPost("M4", fmt.Sprintf("%.40q", body), reason, fields, body+smuggled)
		c.inBody = true
		all = append(all, c)
	}
	for _, size := range []string{"+5", "-5", "0x5", "5_", "_5", "x", "g", ".5", "5.", "٥"} {
		bad("chunk_size", size+"\r\nhello\r\n"+lastChunk)
	}
	for _, size := range []string{"10000000000000005", "fffffffffffffffff", "100000000000000000000000000000005"} {
		bad("chunk_size", size+"\r\nhello\r\n"+lastChunk)
	}
	for _, line := range []string{" 5\r\nhello\r\n", "\t5\r\nhello\r\n", "\r\n5\r\nhello\r\n", "5 \r\nhello\r\n", "5\t\r\nhello\r\n", "5 ;a\r\nhello\r\n"} {
		bad("chunk_size", line+lastChunk)
	}
	for _, line := range []string{
		"5\nhello\r\n", "5\rhello\r\n", "5\r\nhello", "5\r\nhello\n", "5\r\nhello\r", "5\r\nhellox\r\n", "5\r\nhell\r\n",
		"5;\r\nhello\r\n", "5;;\r\nhello\r\n", "5;a\nb\r\nhello\r\n", "5;a\rb\r\nhello\r\n", "5;a=\x00\r\nhello\r\n", "5;a=\x01b\r\nhello\r\n",
		"5;a=\"\n\"\r\nhello\r\n", "5;a=\"\r\n\"\r\nhello\r\n", "5;" + strings.Repeat("a", 300) + "\r\nhello\r\n",
	} {
		bad("chunk_line", line+lastChunk)
	}
	bad("chunk_overhead", strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 400)+lastChunk)
	for end, reason := range map[string]string{
		"0\n\r\n": "chunk_line", "00\n\n": "chunk_line", "0;\r\n\r\n": "chunk_line", "0 \r\n\r\n": "chunk_size", "0\r\n\n": "trailer", "0\r\n\r": "trailer",
	} {
		bad(reason, "5\r\nhello\r\n"+end)
	}
	for _, trailer := range []string{
		"Content-Length: 5", "Transfer-Encoding: chunked", "Host: other", "Content_Length: 5", "X : y", " X: y", ": y", "X\x00: y", "X: \x00", "no colon",
		"X: y\r\n folded", "X: a\rb", "X: a\nY: b",
	} {
		bad("trailer", "5\r\nhello\r\n0\r\n"+trailer+"\r\n\r\n")
	}
	bad("trailers_too_large", "0\r\nX: "+strings.Repeat("y", 9000)+"\r\n\r\n")
	bad("trailers_too_large", "0\r\n"+strings.Repeat("X: y\r\n", 100)+"\r\n")
	for _, body := range []string{
		"5\r\nhello\r\n" + lastChunk, "05\r\nhello\r\n" + lastChunk, "00000005\r\nhello\r\n000\r\n\r\n", "1\r\nh\r\n4\r\nello\r\n" + lastChunk,
		"5;a\r\nhello\r\n" + lastChunk, "5;a=b\r\nhello\r\n0;c=d\r\n\r\n", "5;a=\"b;c\"\r\nhello\r\n" + lastChunk, "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"5\r\nhello\r\n0\r\nX-Remote-User: admin\r\nAuthorization: Bearer other\r\nX-Mark: MARK-smuggled\r\n\r\n",
	} {
		c := inPost("M4", fmt.Sprintf("%.40q", body), "", fields, body)
		c.body = "hello"
		all = append(all, c)
	}
	return all
}

// served requests whose bodies look like requests: every reader must end them where they end.
func served() (all []wireCase) { // M5, M6
	inside := strings.ReplaceAll(smuggled, "MARK", "m0")
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		for _, framing := range []struct{ name, fields, wire, body string }{
			{"no length", "", "", ""},
			{"length 0", "Content-Length: 0\r\n", "", ""},
			{"length", fmt.Sprintf("Content-Length: %d\r\n", len(inside)), inside, inside},
			{"chunked", "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(inside), inside) + lastChunk, inside},
			{"chunked and empty", "Transfer-Encoding: chunked\r\n", lastChunk, ""},
			{"expecting", fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(inside)), inside, inside},
			{"expecting nothing", "Expect: 100-continue\r\n", "", ""},
		} {
			c := wireCase{rule: "M5", name: method + " " + framing.name, method: method, body: framing.body, request: head(method, "/api", framing.fields) + "\r\n" + framing.wire}
			c.last = strings.HasPrefix(framing.name, "expecting")
			all = append(all, c)
		}
		for _, expect := range []string{"200-ok", "y100-continue", "100-continue;a", "100", "x\r\nExpect: 100-continue"} {
			all = append(all, wireCase{rule: "M5", name: method + " expect " + expect, reason: "expectation",
				request: head(method, "/api", "Expect: "+expect+"\r\nContent-Length: 5\r\n") + "\r\nhello" + smuggled})
		}
		for _, expect := range []string{"100-continue, x", "x, 100-continue", "y 100-continue", "100-continue\r\nExpect: x", "\r\nExpect: x"} {
			all = append(all, wireCase{rule: "M5", name: method + " expect " + expect, method: method, body: inside, last: true,
				request: head(method, "/api", fmt.Sprintf("Expect: %s\r\nContent-Length: %d\r\n", expect, len(inside))) + "\r\n" + inside})
		}
	}
	return all
}

func targets() (all []wireCase) { // M9
	line := func(reason, target, host string) {
		all = append(all, wireCase{rule: "M9", name: fmt.Sprintf("%+q of %+q", target, host), reason: reason, method: http.MethodGet,
			request: "GET " + target + " HTTP/1.1\r\n" + host + "WHOX-Mark: MARK\r\n\r\n"})
	}
	const host = "Host: k\r\n"
	for _, target := range []string{"*", "api", "k:443", "//", "http://k/api", "ftp://k/api", "https:/k/api", "https://", "https:///api", "https://u@k/api", "https://u:p@k/api",
		"/a\x01", "/a\x7f", "/a\xff", "/a#b", "\x00", "https://k k/api"} {
		reason := "target"
		switch target {
		case "//":
			reason = ""
		case "https://k k/api":
			reason = "request_line"
		}
		line(reason, target, host)
	}
	for _, target := range []string{"https://other/api", "https://k:444/api", "https://k.x/api", "https://kk/api", "https://[::1]/api"} {
		line("host_differs", target, host)
	}
	for _, target := range []string{"https://k/api", "HTTPS://k/api", "https://K/api", "https://k:443/api", "https://k?x=y", "https://k"} {
		line("", target, host)
	}
	line("no_host", "/api", "")
	for _, hosts := range []string{"Host: k\r\nHost: k\r\n", "Host: k\r\nhost: other\r\n", "Host: k\r\nX: y\r\nHOST: \r\n"} {
		line("host_repeated", "/api", hosts)
	}
	for _, value := range []string{"u@k", "k/x", "k?x", "k#x", "k k", "k,other", "\"k\"", "k;a", "a\\b", ""} {
		line("host", "/api", "Host: "+value+"\r\n")
	}
	line("field_value", "/api", "Host: k\x7f\r\n")
	for _, value := range []string{"k:x", "k:99999", "[k", "k]", "k%zz"} { // Odd, but servers take them for one name.
		line("", "/api", "Host: "+value+"\r\n")
	}
	return all
}

func upgradesToHTTP2() (all []wireCase) { // M10
	get := func(reason, name, fields string) {
		all = append(all, wireCase{rule: "M10", name: name, reason: reason, request: head("GET", "/api", fields) + "\r\n" + smuggled})
	}
	for _, token := range []string{"h2c", "H2C", "h2c, websocket", "websocket, h2c", "h2c-16"} {
		get("h2c", token, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: "+token+"\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n")
		get("h2c", token+" alone", "Connection: Upgrade\r\nUpgrade: "+token+"\r\n")
		get("h2c", token+" without Connection", "Upgrade: "+token+"\r\n")
	}
	get("h2c", "settings alone", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n")
	all = append(all, wireCase{rule: "M10", name: "preface", reason: "http2", request: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled})
	return all
}

func methodsAndVersions() (all []wireCase) { // M9, M13, M14
	for _, target := range []string{"k:443", "/api", "*", "https://k/api"} {
		all = append(all, wireCase{rule: "M14", name: "CONNECT " + target, reason: "connect", request: head("CONNECT", target, "") + "\r\n" + smuggled})
	}
	for method, reason := range map[string]string{
		"get": "method", "Get": "method", "FOO": "method", "PROPFIND": "method", "M-SEARCH": "method", "": "method", "G\x00T": "method", "G T": "method", "LINK": "method",
		"GETX": "request_line", "PRI": "version", // Which belongs to HTTP/2.
	} {
		all = append(all, wireCase{rule: "M9", name: fmt.Sprintf("method %+q", method), reason: reason, request: head(method, "/api", "") + "\r\n" + smuggled})
	}
	for version, reason := range map[string]string{
		"HTTP/0.9": "version", "HTTP/1.2": "version", "HTTP/2.0": "version", "HTTP/3.0": "version", "HTTP/1": "version", "HTTP/11": "version", "HTTP/ 1.1": "version",
		"RTSP/1.0": "version", "ICE/1.0": "version", "HTTP/1.1.1": "line_end", "HTTP/1.10": "line_end", "http/1.1": "request_line", "HTTPS/1.1": "request_line", "": "request_line",
	} {
		request := strings.Replace(head("GET", "/api", ""), "HTTP/1.1", version, 1)
		all = append(all, wireCase{rule: "M9", name: fmt.Sprintf("version %+q", version), reason: reason, request: request + "\r\n" + smuggled})
	}
	plain := head("GET", "/api", "")
	for _, line := range []struct{ name, reason, request string }{
		{"two blanks", "request_line", strings.Replace(plain, "GET /", "GET  /", 1)},
		{"two blanks behind the target", "request_line", strings.Replace(plain, "/api ", "/api  ", 1)},
		{"a tab", "request_line", strings.Replace(plain, "GET /", "GET\t/", 1)},
		{"a blank at the start", "method", " " + plain},
		{"a blank at the end", "line_end", strings.Replace(plain, "HTTP/1.1\r", "HTTP/1.1 \r", 1)},
		{"a bare LF", "line_end", strings.Replace(plain, "HTTP/1.1\r\n", "HTTP/1.1\n", 1)},
		{"a bare CR", "line_end", strings.Replace(plain, "HTTP/1.1\r\n", "HTTP/1.1\r", 1)},
		{"two empty lines before", "line_end", "\r\n\r\n" + plain},
		{"an empty line of LF before", "line_end", "\n" + plain},
		{"a NUL before", "method", "\x00" + plain},
	} {
		all = append(all, wireCase{rule: "M9", name: "request line with " + line.name, reason: line.reason, request: line.request + "\r\n" + smuggled})
	}
	return all
}

// spellings are those of the HTTP/2 forgeries, and what is one of HTTP/1.1 alone.
func spellings() (all []wireCase) { // S1 to S17
	for _, f := range forgeries() {
		c := wireCase{rule: "S1-S17", name: fmt.Sprintf("%+q %+q", f.fields, f.trailers), method: http.MethodPost}
		var fields, trailers strings.Builder
		for _, field := range f.fields {
			fmt.Fprintf(&fields, "%s: %s\r\n", field.Name, field.Value)
			switch {
			case strings.HasPrefix(field.Name, " "):
				c.reason = "field_value" // A fold of the line before.
			case !httpguts.ValidHeaderFieldName(strings.TrimSuffix(field.Name, ":")): // With a colon it is a name all the same.
				c.reason = "field_name"
			}
		}
		for _, field := range f.trailers {
			fmt.Fprintf(&trailers, "%s: %s\r\n", field.Name, field.Value)
		}
		c.request = head("POST", "/api", fields.String()+"Transfer-Encoding: chunked\r\n") + "\r\n5\r\nhello\r\n0\r\n" + trailers.String() + "\r\n"
		c.body = "hello"
		all = append(all, c)
	}
	for _, named := range []string{ // S7
		"X-Remote-User", "X-Remote-User, X-Remote-Group", "close, X-Remote-User", "X-Remote-Extra-Scope", "X-Forwarded-For", "keep-alive, X-Remote-Group", "X-Mark-Other",
	} {
		c := wireCase{rule: "S7", name: "Connection: " + named, method: http.MethodGet, request: head("GET", "/api", "Connection: "+named+"\r\nX-Remote-User: admin\r\n") + "\r\n"}
		c.last = strings.HasPrefix(named, "close")
		all = append(all, c)
	}
	for _, named := range []string{"Authorization", "authorization", "X, Authorization", "Host", "Content-Length", "Impersonate-User", "impersonate-group", "Cookie", "Content-Type", "Sec-WebSocket-Protocol"} {
		all = append(all, wireCase{rule: "S7", name: "Connection: " + named, reason: "connection_option",
			request: head("GET", "/api", "Connection: "+named+"\r\n") + "\r\n" + smuggled})
	}
	return all
}

// everyByte tries each in a name and in a value.
func everyByte() (all []wireCase) { // S11
	for position := range 3 {
		for b := range 256 {
			name, value := []byte("xqz"), []byte("xqz")
			name[position], value[position] = byte(b), byte(b)
			inName := wireCase{rule: "S11", name: fmt.Sprintf("name %+q", name), method: http.MethodGet, request: head("GET", "/api", string(name)+": v\r\n") + "\r\n"}
			switch before, after, colon := strings.Cut(string(name), ":"); {
			case colon && before != "": // It ends sooner.
				inName.field = harness.Field{Name: before, Value: strings.TrimSpace(after + ": v")}
			case strings.HasPrefix(before, " ") || strings.HasPrefix(before, "\t"):
				inName.reason = "field_value" // A fold of the line before.
			case strings.HasPrefix(before, "\r"):
				inName.reason = "line_end"
			case !httpguts.ValidHeaderFieldName(string(name)):
				inName.reason = "field_name"
			default:
				inName.field = harness.Field{Name: string(name), Value: "v"}
			}
			inValue := wireCase{rule: "S11", name: fmt.Sprintf("value %+q", value), method: http.MethodGet, request: head("GET", "/api", "X-Odd: "+string(value)+"\r\n") + "\r\n"}
			if httpguts.ValidHeaderFieldValue(string(value)) {
				inValue.field = harness.Field{Name: "X-Odd", Value: strings.Trim(string(value), " \t")}
			} else {
				inValue.reason = "field_value"
				if b == '\r' || b == '\n' && position > 0 {
					inValue.reason = "line_end"
				}
			}
			all = append(all, inName, inValue)
		}
	}
	return all
}

func fieldLines() (all []wireCase) { // S6, S10, S12
	for _, f := range []struct{ rule, reason, lines string }{
		{"S6", "field_value", "X: a\r\n X-Remote-User: admin\r\n"},
		{"S6", "field_value", "X: a\r\n\tX-Remote-User: admin\r\n"},
		{"S6", "field_value", "X:\r\n a\r\n"},
		{"S6", "field_value", "X: a\r\n \r\n"},
		{"S10", "field_name", "X-Remote-User : admin\r\n"},
		{"S10", "field_name", "X-Remote-User\t: admin\r\n"},
		{"S10", "field_name", "X-Remote-User\xa0: admin\r\n"},
		{"S10", "field_name", "\xa0X-Remote-User: admin\r\n"},
		{"S12", "field_name", ": v\r\n"},
		{"S12", "field_name", ":\r\n"},
		{"S12", "field_name", "no colon\r\n"},
		{"S12", "field_name", "X-Remote-User\r\n"},
		{"S11", "line_end", "X: a\nX-Remote-User: admin\r\n"},
		{"S11", "line_end", "X: a\rX-Remote-User: admin\r\n"},
		{"S11", "line_end", "X: a\n\r\n"},
		{"S11", "line_end", "X: a\r\r\n"},
	} {
		all = append(all, wireCase{rule: f.rule, name: fmt.Sprintf("%+q", f.lines), reason: f.reason, request: head("GET", "/api", f.lines) + "\r\n" + smuggled})
	}
	return all
}
