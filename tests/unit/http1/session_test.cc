// SPDX-License-Identifier: GPL-3.0-or-later
// What a client's HTTP/1.1 connection takes, refuses and sends.
#include "sluice/http1/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sluice/base/enumerators.h"
#include "sluice/base/random.h"

namespace sluice::http1 {
namespace {

using namespace std::string_literals;

// Writes down what happens, and answers when told to.
class Owner : public SessionHandler {
 public:
  explicit Owner(const SessionOptions& options = {}) : session(*this, options) {}

  void on_request(const Request& request, http::RequestHead&& head) override {
    note("request " + std::to_string(request.id) + " " + head.method + " " + head.authority + " " +
         head.path + (request.end_of_stream ? " whole" : "") +
         (head.protocol.empty() ? "" : " upgrade=" + head.protocol));
    for (std::size_t i = 0; i < head.fields.size(); ++i) {
      note("  " + std::string(head.fields[i].name) + "=" + std::string(head.fields[i].value));
    }
    heads.push_back(std::move(head));
    current = request.id;
    if (request.end_of_stream && answers) answer(200, "ok");
  }
  void on_head_too_large(RequestId id, http::RequestHead&& head) override {
    note("too large " + std::to_string(id) + " " + head.method);
    current = id;
    answer(431, "large");
  }
  void on_malformed(RequestId id, http::RequestHead&& head, Refusal why) override {
    note("malformed " + std::to_string(id) + " " + std::string(to_string(why)));
    refusal = why;
    heads.push_back(std::move(head));
    current = id;
    if (answers) answer(status_of(why), std::string(sentence(why)));
  }
  void on_data(RequestId id, Bytes bytes) override {
    if (!events.empty() && events.back().starts_with("data ")) {
      events.back() += as_text(bytes);
    } else {
      note("data " + std::string(as_text(bytes)));
    }
    received += bytes.size();
    if (credits) session.consume(id, bytes.size());
  }
  void on_end_of_stream(RequestId id) override {
    note("end " + std::to_string(id));
    if (answers) answer(200, "ok");
  }
  void on_tunnel_ended(RequestId id, bool in_order) override {
    note("tunnel end " + std::to_string(id) + (in_order ? "" : " cut"));
  }
  void on_closed(RequestId id, bool whole) override {
    note("closed " + std::to_string(id) + (whole ? "" : " cut"));
    current = 0;
    body.clear();
    more_comes = false;
  }
  http::BodyResult on_body_wanted(RequestId id, MutableBytes room) override {
    EXPECT_EQ(id, current);
    const std::size_t n = std::min({room.size(), body.size(), piece_bytes});
    std::memcpy(room.data(), body.data(), n);
    body.erase(0, n);
    const bool finished = body.empty() && !more_comes;
    return {n, finished ? http::BodyStatus::finished : http::BodyStatus::more};
  }

  // With a length, as our own replies.
  void answer(int status, std::string text) {
    http::ResponseHead head;
    head.status = status;
    head.fields.add("content-length", std::to_string(text.size()));
    body = std::move(text);
    session.submit_response(current, head, !body.empty());
  }
  void begin(int status, std::initializer_list<std::pair<std::string, std::string>> fields = {}) {
    http::ResponseHead head;
    head.status = status;
    for (const auto& [name, value] : fields) head.fields.add(name, value);
    more_comes = true;
    session.submit_response(current, head, true);
  }
  void send(std::string_view bytes) {
    body += bytes;
    session.resume_body(current);
  }
  void finish() {
    more_comes = false;
    session.resume_body(current);
  }

  std::string collect(std::size_t batch_bytes = 16384) {
    std::string out;
    std::vector<std::uint8_t> batch(batch_bytes);
    for (;;) {
      const std::size_t n = session.collect(batch);
      if (n == 0) return out;
      out += as_text(Bytes(batch).first(n));
    }
  }
  // As a connection does: input while it is wanted, and everything that is to be sent.
  std::string talk(std::string_view input, std::size_t step = SIZE_MAX) {
    std::string out;
    for (std::size_t at = 0; at < input.size();) {
      const std::size_t n = std::min(step, input.size() - at);
      session.feed(as_bytes(input.substr(at, n)));
      at += n;
      out += collect();
      while (session.can_go_on()) {
        session.feed({});
        out += collect();
      }
    }
    return out;
  }
  void note(std::string event) { events.push_back(std::move(event)); }

  Session session;
  std::vector<std::string> events;
  std::vector<http::RequestHead> heads;
  std::optional<Refusal> refusal;
  std::string body;
  RequestId current = 0;
  std::size_t received = 0;
  std::size_t piece_bytes = SIZE_MAX;
  bool answers = true;  // as soon as the request is complete
  bool credits = true;
  bool more_comes = false;
};

constexpr std::string_view ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
constexpr std::string_view last_ok =
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const std::string get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

std::string with(std::string_view fields, std::string_view rest = "") {
  return "POST /a HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n\r\n" + std::string(rest);
}
std::string chunked(std::string_view chunks) { return with("Transfer-Encoding: chunked", chunks); }

// ---------------------------------------------------------------- what is taken

struct Taken {
  const char* name;
  std::string text;
  std::vector<std::string> events;
};
void PrintTo(const Taken& taken, std::ostream* out) { *out << taken.name; }

class TakenTest : public testing::TestWithParam<Taken> {};

TEST_P(TakenTest, IsHandedOverHoweverItIsCut) {
  const Taken& taken = GetParam();
  for (std::size_t step = 1; step <= taken.text.size(); ++step) {
    Owner owner;
    owner.talk(taken.text, step);
    EXPECT_EQ(owner.events, taken.events) << step;
    EXPECT_FALSE(owner.refusal);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Http1, TakenTest,
    testing::Values(
        Taken{"a_get",
              "GET /api?x=1 HTTP/1.1\r\nHost: kube:443\r\nX-A:  b\t \r\nEmpty:\r\n\r\n",
              {"request 1 GET kube:443 /api?x=1 whole", "  x-a=b", "  empty=", "closed 1"}},
        Taken{"an_empty_line_before",
              "\r\n" + get + "\r\n" + get,
              {"request 1 GET a /a whole", "closed 1", "request 2 GET a /a whole", "closed 2"}},
        Taken{"a_length",
              with("Content-Length: 5", "hello") + get,
              {"request 1 POST a /a", "  content-length=5", "data hello", "end 1", "closed 1",
               "request 2 GET a /a whole", "closed 2"}},
        Taken{"a_length_of_nothing",
              with("Content-Length: 0") + get,
              {"request 1 POST a /a whole", "  content-length=0", "closed 1",
               "request 2 GET a /a whole", "closed 2"}},
        Taken{"chunks",
              chunked("5\r\nhello\r\n00B\r\n, you there\r\n0\r\n\r\n") + get,
              {"request 1 POST a /a", "  transfer-encoding=chunked", "data hello, you there",
               "end 1", "closed 1", "request 2 GET a /a whole", "closed 2"}},
        Taken{"chunk_extensions",
              chunked("5;a=b\r\nhello\r\n1;n=\"q;\\\"\"\r\n!\r\n0;last\r\n\r\n"),
              {"request 1 POST a /a", "  transfer-encoding=chunked", "data hello!", "end 1",
               "closed 1"}},
        Taken{"trailers",
              chunked("1\r\nx\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n") + get,
              {"request 1 POST a /a", "  transfer-encoding=chunked", "data x", "end 1", "closed 1",
               "request 2 GET a /a whole", "closed 2"}},
        Taken{
            "announced_trailers",
            with("Trailer: x-sum\r\nTransfer-Encoding: Chunked", "1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"),
            {"request 1 POST a /a", "  transfer-encoding=Chunked", "data x", "end 1", "closed 1"}},
        Taken{"a_get_with_a_body",
              "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy" + get,
              {"request 1 GET a /a", "  content-length=2", "data xy", "end 1", "closed 1",
               "request 2 GET a /a whole", "closed 2"}},
        Taken{"an_absolute_target",
              "GET https://KUBE:443/a HTTP/1.1\r\nHost: kube\r\n\r\n",
              {"request 1 GET kube /a whole", "closed 1"}},
        Taken{"an_absolute_target_without_a_path",
              "GET HTTPS://kube?x HTTP/1.1\r\nHost: kube\r\n\r\n",
              {"request 1 GET kube /?x whole", "closed 1"}},
        Taken{"the_server_itself",
              "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" + get,
              {"request 1 OPTIONS a * whole", "closed 1", "request 2 GET a /a whole", "closed 2"}},
        Taken{"version_1_0",
              "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get,
              {"request 1 GET  /a whole", "  connection=keep-alive", "closed 1"}},
        Taken{"its_last_request",
              "GET /a HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n" + get,
              {"request 1 GET a /a whole", "  connection=x, Close", "closed 1"}},
        Taken{
            "an_upgrade",
            "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n" + get,
            {"request 1 GET a /a whole upgrade=SPDY/3.1", "  connection=Upgrade",
             "  upgrade=SPDY/3.1", "closed 1"}},
        Taken{"an_upgrade_without_the_option",
              "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
              {"request 1 GET a /a whole", "  upgrade=websocket", "closed 1"}},
        Taken{
            "an_upgrade_in_version_1_0",
            "GET /a HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            {"request 1 GET  /a whole", "  connection=Upgrade", "  upgrade=websocket", "closed 1"}},
        Taken{"an_upgrade_to_one_of_several",
              "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a, websocket\r\n\r\n" +
                  get,
              {"request 1 GET a /a whole", "  connection=Upgrade", "  upgrade=a, websocket",
               "closed 1", "request 2 GET a /a whole", "closed 2"}},
        Taken{
            "odd_names_and_high_bytes",
            "GET /a HTTP/1.1\r\nHost: a\r\nX_Remote_User: \xc3\xa4\r\n!#$%&'*+-.^_`|~9: 1\r\n\r\n",
            {"request 1 GET a /a whole", "  x_remote_user=\xc3\xa4", "  !#$%&'*+-.^_`|~9=1",
             "closed 1"}}),
    [](const auto& param_info) { return param_info.param.name; });

// ---------------------------------------------------------------- what is refused

struct Refused {
  const char* name;
  Refusal why;
  std::string text;
};
void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.name; }

class SessionRefusesTest : public testing::TestWithParam<Refused> {};

// Whatever follows is no request, and the connection ends when the client was told.
TEST_P(SessionRefusesTest, WithItsReasonAndNothingBehindIt) {
  const Refused& refused = GetParam();
  const std::string text = refused.text + "GET /marker HTTP/1.1\r\nHost: a\r\n\r\n";
  for (const std::size_t step : {text.size(), std::size_t{1}, std::size_t{3}}) {
    Owner owner;
    const std::string out = owner.talk(text, step);
    ASSERT_TRUE(owner.refusal) << step;
    EXPECT_EQ(to_string(*owner.refusal), to_string(refused.why)) << step;
    EXPECT_TRUE(out.starts_with("HTTP/1.1 " + std::to_string(status_of(refused.why)) + " ")) << out;
    EXPECT_NE(out.find("\r\nconnection: close\r\n"), std::string::npos) << out;
    EXPECT_TRUE(owner.session.finished()) << step;
    EXPECT_EQ(owner.session.last_request(), 1) << step;
    for (const std::string& event : owner.events) {
      EXPECT_EQ(event.find("marker"), std::string::npos) << event;
      EXPECT_FALSE(event.starts_with("end")) << event;
    }
    EXPECT_EQ(owner.events.back(), "closed 1");
  }
}

const std::string chunk_flood = [] {
  std::string flood = chunked("");
  for (int i = 0; i < 30'000; ++i) flood += "1\r\nx\r\n";
  return flood;
}();

INSTANTIATE_TEST_SUITE_P(
    Http1, SessionRefusesTest,
    testing::Values(
        Refused{"tls", Refusal::method, "\x16\x03\x01\x02"s},
        Refused{"no_target", Refusal::request_line, "GET\r\n\r\n"},
        Refused{"unknown_method", Refusal::method, "FOO / HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"lower_case_method", Refusal::method, "get / HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"a_method_of_no_api_server", Refusal::method,
                "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"connect", Refusal::connect, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"version_2", Refusal::version, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        Refused{"version_1_2", Refusal::version, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
        Refused{"http2_preface", Refusal::http2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        Refused{"two_blanks", Refusal::request_line, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"two_blanks_behind_the_target", Refusal::request_line,
                "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"another_protocol", Refusal::version, "GET / RTSP/1.0\r\nHost: a\r\n\r\n"},
        Refused{"asterisk_of_a_get", Refusal::target, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"two_asterisks", Refusal::target, "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"asterisk_and_query", Refusal::target, "OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"high_byte_in_target", Refusal::target,
                "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"fragment", Refusal::target, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"authority_form", Refusal::target, "GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"other_scheme", Refusal::target, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"userinfo", Refusal::target, "GET https://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"absolute_of_another", Refusal::host_differs,
                "GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"no_host", Refusal::no_host, "GET / HTTP/1.1\r\n\r\n"},
        Refused{"empty_host", Refusal::host, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
        Refused{"userinfo_in_host", Refusal::host, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
        Refused{"path_in_host", Refusal::host, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
        Refused{"two_in_a_host", Refusal::host, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
        Refused{"two_hosts", Refusal::host_repeated, with("Host: b")},
        Refused{"the_same_host_twice", Refusal::host_repeated, with("HOST: a")},
        Refused{"space_before_colon", Refusal::field_name, with("X-A : b")},
        Refused{"length_with_space_before_colon", Refusal::field_name,
                with("Content-Length : 5", "hello")},
        Refused{"space_before_the_first_field", Refusal::field_name,
                "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
        Refused{"empty_name", Refusal::field_name, with(": b")},
        Refused{"bad_name", Refusal::field_name, with("X(A): b")},
        Refused{"nul_in_name", Refusal::field_name, with("X\0A: b"s)},
        Refused{"no_colon", Refusal::field_name, with("XA")},
        Refused{"nul", Refusal::field_value, with("X-A: b\0c"s)},
        Refused{"control", Refusal::field_value, with("X-A: b\x01")},
        Refused{"delete", Refusal::field_value, with("X-A: b\x7f")},
        Refused{"fold", Refusal::field_value, with("X-A: b\r\n c")},
        Refused{"folded_coding", Refusal::field_value, with("Transfer-Encoding:\r\n chunked")},
        Refused{"nominated_impersonation", Refusal::connection_option,
                with("Connection: close, Impersonate-User")},
        Refused{"nominated_extra", Refusal::connection_option,
                with("Connection: impersonate-extra-scopes")},
        Refused{"nominated_authorization", Refusal::connection_option,
                with("Connection: keep-alive\r\nConnection: x,AUTHORIZATION")},
        Refused{"nominated_length", Refusal::connection_option, with("Connection: Content-Length")},
        Refused{"underscore_length", Refusal::framing_name, with("Content_Length: 5")},
        Refused{"underscore_coding", Refusal::framing_name, with("Transfer_Encoding: chunked")},
        Refused{"bare_lf", Refusal::line_end, "GET / HTTP/1.1\nHost: a\n\n"},
        Refused{"bare_lf_in_fields", Refusal::line_end, "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"},
        Refused{"bare_lf_at_the_end", Refusal::field_name, "GET / HTTP/1.1\r\nHost: a\r\n\n"},
        Refused{"bare_cr", Refusal::line_end, with("X-A: b\rX-B: c")},
        Refused{"two_empty_lines", Refusal::line_end, "\r\n\r\n" + get},
        Refused{"an_empty_line_of_lf", Refusal::line_end, "\n" + get},
        Refused{"an_empty_line_of_cr", Refusal::line_end, "\r" + get},
        Refused{"length_list", Refusal::length, with("Content-Length: 5, 5", "hello")},
        Refused{"length_list_of_two", Refusal::length, with("Content-Length: 5, 6", "hello")},
        Refused{"signed_length", Refusal::length, with("Content-Length: +5", "hello")},
        Refused{"negative_zero", Refusal::length, with("Content-Length: -0")},
        Refused{"leading_zero", Refusal::length, with("Content-Length: 05", "hello")},
        Refused{"hex_length", Refusal::length, with("Content-Length: 0x5", "hello")},
        Refused{"blank_in_length", Refusal::length, with("Content-Length: 5 5", "hello")},
        Refused{"blank_behind_length", Refusal::length, with("Content-Length: 5 ", "hello")},
        Refused{"tab_behind_length", Refusal::length, with("Content-Length: 5\t", "hello")},
        Refused{"empty_length", Refusal::length, with("Content-Length:")},
        Refused{"huge_length", Refusal::length, with("Content-Length: 18446744073709551616")},
        Refused{"large_length", Refusal::length, with("Content-Length: 9223372036854775808")},
        Refused{"lengths", Refusal::length_repeated,
                with("Content-Length: 5\r\nContent-Length: 5", "hello")},
        Refused{"length_and_chunked", Refusal::length_and_coding,
                with("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")},
        Refused{"chunked_and_length", Refusal::length_and_coding,
                with("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")},
        Refused{"chunked_twice", Refusal::coding,
                with("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")},
        Refused{"two_codings", Refusal::coding,
                with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")},
        Refused{"identity_and_chunked", Refusal::coding,
                with("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\n")},
        Refused{"identity", Refusal::coding, with("Transfer-Encoding: identity")},
        Refused{"gzip_chunked", Refusal::coding,
                with("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")},
        Refused{"xchunked", Refusal::coding, with("Transfer-Encoding: xchunked")},
        Refused{"chunked_with_parameter", Refusal::coding,
                with("Transfer-Encoding: chunked;a=b", "0\r\n\r\n")},
        Refused{"chunked_behind_a_comma", Refusal::coding,
                with("Transfer-Encoding: , chunked", "0\r\n\r\n")},
        Refused{"chunked_before_a_comma", Refusal::coding,
                with("Transfer-Encoding: chunked,", "0\r\n\r\n")},
        Refused{"vertical_tab_before_chunked", Refusal::field_value,
                with("Transfer-Encoding: \vchunked", "0\r\n\r\n")},
        Refused{"empty_coding", Refusal::coding, with("Transfer-Encoding:")},
        Refused{"quoted_coding", Refusal::coding, with("Transfer-Encoding: \"chunked\"")},
        Refused{"chunked_in_1_0", Refusal::coding,
                "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        Refused{"other_expectation", Refusal::expectation,
                with("Expect: 200-ok\r\nContent-Length: 1", "x")},
        Refused{"expectation_with_a_parameter", Refusal::expectation,
                with("Expect: 100-continue;a\r\nContent-Length: 1", "x")},
        Refused{"expectation_within_a_word", Refusal::expectation,
                with("Expect: x100-continue, 100\r\nContent-Length: 1", "x")},
        Refused{"other_expectation_first", Refusal::expectation,
                with("Expect: x\r\nExpect: 100-continue\r\nContent-Length: 1", "x")},
        Refused{
            "h2c", Refusal::h2c,
            with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA")},
        Refused{"an_upgrade_with_chunks", Refusal::upgrade_body,
                with("Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
                     "0\r\n\r\n")},
        Refused{"h2c_alone", Refusal::h2c, with("Upgrade: websocket, H2C")},
        Refused{"http2_settings", Refusal::h2c, with("HTTP2-Settings: AAMA")},
        Refused{"chunk_size_plus", Refusal::chunk_size, chunked("+5\r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_size_minus", Refusal::chunk_size, chunked("-5\r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_size_0x", Refusal::chunk_size, chunked("0x5\r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_size_underscore", Refusal::chunk_size, chunked("1_0\r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_size_leading_space", Refusal::chunk_size,
                chunked(" 5\r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_size_trailing_space", Refusal::chunk_size,
                chunked("5 \r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_size_overflow", Refusal::chunk_size, chunked("10000000000000005\r\nhello")},
        Refused{"no_chunk_size", Refusal::chunk_size, chunked("\r\nhello\r\n0\r\n\r\n")},
        Refused{"many_zeros", Refusal::chunk_line,
                chunked(std::string(300, '0') + "5\r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_bare_lf", Refusal::chunk_line, chunked("5\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_bare_cr", Refusal::chunk_line, chunked("5\rhello\r\n0\r\n\r\n")},
        Refused{"chunk_data_bare_lf", Refusal::chunk_line, chunked("5\r\nhello\n0\r\n\r\n")},
        Refused{"chunk_data_bare_cr", Refusal::chunk_line, chunked("5\r\nhello\r0\r\n\r\n")},
        Refused{"chunk_data_without_end", Refusal::chunk_line, chunked("5\r\nhello0\r\n\r\n")},
        Refused{"chunk_data_too_long", Refusal::chunk_line, chunked("5\r\nhello!\r\n0\r\n\r\n")},
        Refused{"semicolon_alone", Refusal::chunk_line, chunked("5;\r\nhello\r\n0\r\n\r\n")},
        Refused{"extension_with_lf", Refusal::chunk_line, chunked("5;a\nb\r\nhello\r\n0\r\n\r\n")},
        Refused{"extension_with_cr", Refusal::chunk_line, chunked("5;a\rb\r\nhello\r\n0\r\n\r\n")},
        Refused{"extension_value_with_lf", Refusal::chunk_line,
                chunked("5;a=b\nc\r\nhello\r\n0\r\n\r\n")},
        Refused{"extension_quoted_lf", Refusal::chunk_line,
                chunked("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n")},
        Refused{"extension_with_nul", Refusal::chunk_line,
                chunked("5;a=\0\r\nhello\r\n0\r\n\r\n"s)},
        Refused{"long_extension", Refusal::chunk_line,
                chunked("5;a=" + std::string(300, 'x') + "\r\nhello\r\n0\r\n\r\n")},
        Refused{"chunk_flood", Refusal::chunk_overhead, chunk_flood},
        Refused{"trailer_length", Refusal::trailer,
                chunked("1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n")},
        Refused{"trailer_coding", Refusal::trailer,
                chunked("1\r\nx\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n")},
        Refused{"trailer_host", Refusal::trailer, chunked("1\r\nx\r\n0\r\nHost: b\r\n\r\n")},
        Refused{"trailer_bare_lf", Refusal::trailer, chunked("1\r\nx\r\n0\r\nX: b\nY: c\r\n\r\n")},
        Refused{"trailer_name", Refusal::trailer, chunked("1\r\nx\r\n0\r\nX : b\r\n\r\n")},
        Refused{"trailer_nul", Refusal::trailer, chunked("1\r\nx\r\n0\r\nX: \0\r\n\r\n"s)},
        Refused{"trailers_end_in_lf", Refusal::trailer, chunked("1\r\nx\r\n0\r\n\n")},
        Refused{"long_trailers", Refusal::trailers_too_large,
                chunked("1\r\nx\r\n0\r\nX: " + std::string(9000, 'x') + "\r\n\r\n")},
        Refused{"many_trailers", Refusal::trailers_too_large,
                chunked("1\r\nx\r\n0\r\n" +
                        [] {
                          std::string lines;
                          for (int i = 0; i < 65; ++i) lines += "X: y\r\n";
                          return lines;
                        }() +
                        "\r\n")}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(RefusalTest, EachHasASentenceAndAStatus) {
  const auto names = enumerator_names<Refusal>();
  std::set<std::string_view> sentences;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto refusal = static_cast<Refusal>(i);
    EXPECT_TRUE(sentence(refusal).ends_with('.')) << names[i];
    EXPECT_TRUE(sentences.insert(sentence(refusal)).second) << names[i];
    EXPECT_GE(status_of(refusal), 400);
    EXPECT_LE(status_of(refusal), 505);
  }
}

TEST(SessionTest, AHeadAboveALimitIsAnswered) {
  const SessionOptions options{.header_fields_max = 4, .header_list_bytes_max = 600};
  const std::string many = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n";
  const std::string long_value =
      "GET / HTTP/1.1\r\nHost: a\r\nA: " + std::string(500, 'x') + "\r\n\r\n";
  const std::string blanks =
      "GET / HTTP/1.1\r\nHost: a\r\nA:" + std::string(600, ' ') + "x\r\n\r\n";
  const std::string long_target = "GET /" + std::string(600, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  for (const std::string& text : {many, long_value, blanks, long_target}) {
    for (const std::size_t step : {text.size(), std::size_t{1}}) {
      Owner owner(options);
      const std::string out = owner.talk(text + get, step);
      EXPECT_EQ(owner.events, (std::vector<std::string>{"too large 1 GET", "closed 1"})) << text;
      EXPECT_TRUE(out.starts_with("HTTP/1.1 431 ")) << out;
      EXPECT_TRUE(owner.session.finished());
    }
  }
  Owner owner(options);
  owner.talk("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: " + std::string(100, 'x') +
             "\r\n\r\n");
  EXPECT_EQ(owner.events.back(), "closed 1");
  EXPECT_FALSE(owner.session.finished());
}

// ---------------------------------------------------------------- one after the other

TEST(SessionTest, PipelinedRequestsAreAnsweredInTheirOrder) {
  std::string text;
  std::vector<std::string> expected;
  for (int i = 1; i <= 20; ++i) {
    const std::string n = std::to_string(i);
    if (i % 3 == 0) {
      text += "POST /" + n +
              " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n"
              "0\r\n\r\n";
      expected.insert(expected.end(), {"request " + n + " POST a /" + n,
                                       "  transfer-encoding=chunked", "data b", "end " + n});
    } else {
      text += "GET /" + n + " HTTP/1.1\r\nHost: a\r\n\r\n";
      expected.push_back("request " + n + " GET a /" + n + " whole");
    }
    expected.push_back("closed " + n);
  }
  std::string answers;
  for (int i = 0; i < 20; ++i) answers += ok;
  for (const std::size_t step : {text.size(), std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
    Owner owner;
    EXPECT_EQ(owner.talk(text, step), answers) << step;
    EXPECT_EQ(owner.events, expected) << step;
  }
}

TEST(SessionTest, TheNextRequestWaitsUntilTheLastAnswerIsCollected) {
  Owner owner;
  owner.answers = false;
  owner.session.feed(as_bytes(get + get));
  EXPECT_EQ(owner.events.size(), 1u);
  EXPECT_FALSE(owner.session.can_go_on());
  owner.answer(200, "ok");
  EXPECT_FALSE(owner.session.can_go_on());
  std::vector<std::uint8_t> batch(64);
  EXPECT_GT(owner.session.collect(batch), 0u);  // the head, and part of the rest
  owner.collect();
  EXPECT_EQ(owner.events.back(), "closed 1");
  ASSERT_TRUE(owner.session.can_go_on());
  owner.session.feed({});
  EXPECT_EQ(owner.events.back(), "request 2 GET a /a whole");
}

TEST(SessionTest, WhatIsPipelinedBeyondARecordStopsTheInput) {
  Owner owner;
  owner.answers = false;
  std::string many;
  while (many.size() < 15'000) many += get;
  owner.session.feed(as_bytes(many));
  EXPECT_EQ(owner.events.size(), 1u);
  EXPECT_TRUE(owner.session.wants_input());  // or nobody would notice that the client is gone
  owner.session.feed(as_bytes(many));
  EXPECT_FALSE(owner.session.wants_input());
  EXPECT_EQ(owner.session.held_bytes(), 2 * many.size() - get.size());
  owner.answers = true;
  owner.answer(200, "ok");
  for (std::size_t turn = 0; turn < 2 * many.size() / get.size() + 1; ++turn) {
    owner.collect();
    if (owner.session.can_go_on()) owner.session.feed({});
  }
  EXPECT_TRUE(owner.session.wants_input());
  EXPECT_EQ(owner.session.last_request(), static_cast<RequestId>(2 * many.size() / get.size()));
}

// ---------------------------------------------------------------- uploads

TEST(SessionTest, AnUploadStopsAtItsWindow) {
  for (const bool in_chunks : {false, true}) {
    Owner owner({.window_bytes = 10});
    owner.credits = false;
    owner.answers = false;
    const std::string body(25, 'b');
    owner.session.feed(as_bytes(in_chunks ? chunked("19\r\n" + body + "\r\n0\r\n\r\n")
                                          : with("Content-Length: 25", body)));
    EXPECT_EQ(owner.received, 10u);
    EXPECT_FALSE(owner.session.can_go_on());
    owner.session.consume(1, 4);
    EXPECT_TRUE(owner.session.can_go_on());
    owner.session.feed({});
    EXPECT_EQ(owner.received, 14u);
    owner.session.grow_window(1, 20);
    owner.session.feed({});
    EXPECT_EQ(owner.received, 24u);
    owner.session.consume(1, 20);
    owner.session.feed({});
    EXPECT_EQ(owner.received, 25u);
    EXPECT_EQ(owner.events.back(), "end 1");
    EXPECT_EQ(owner.session.held_bytes(), 0u);
  }
}

TEST(SessionTest, ABodyThatFillsItsWindowExactlyEnds) {
  Owner owner({.window_bytes = 10});
  owner.credits = false;
  owner.answers = false;
  owner.session.feed(as_bytes(with("Content-Length: 10", std::string(10, 'b'))));
  EXPECT_EQ(owner.events.back(), "end 1");
}

TEST(SessionTest, ContinueIsSaidOnceAndOnlyToWhoWaits) {
  http::ResponseHead go_on;
  go_on.status = 100;
  const std::string said = "HTTP/1.1 100 Continue\r\n\r\n";
  Owner owner;
  owner.talk(with("Expect: 100-Continue\r\nContent-Length: 5"));
  EXPECT_EQ(owner.collect(), "");
  owner.session.submit_interim(1, go_on);
  owner.session.submit_interim(1, go_on);
  EXPECT_EQ(owner.collect(), said);
  EXPECT_EQ(owner.talk("hello"), ok);
  // It did not wait.
  owner.talk(with("Expect: 100-continue\r\nContent-Length: 5", "he"));
  owner.session.submit_interim(2, go_on);
  EXPECT_EQ(owner.collect(), "");
  EXPECT_EQ(owner.talk("llo"), ok);
  // Nor was it asked for.
  owner.talk(with("Content-Length: 5"));
  owner.session.submit_interim(3, go_on);
  EXPECT_EQ(owner.collect(), "");
  // In HTTP/1.0 there is no such thing.
  Owner old;
  old.talk("POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  old.session.submit_interim(1, go_on);
  EXPECT_EQ(old.collect(), "");
  EXPECT_EQ(old.events[1], "  content-length=5");
}

// What an API server understands, and what is passed on is no more than that.
TEST(SessionTest, ContinueIsAWordOfTheFirstExpect) {
  http::ResponseHead go_on;
  go_on.status = 100;
  for (const std::string expect :
       {"Expect: 100-continue, x", "Expect: x, 100-Continue", "Expect: ,\t100-continue\t,",
        "Expect: 100-continue 200-ok", "Expect: 100-continue\r\nExpect: x"}) {
    Owner owner;
    owner.talk(with(expect + "\r\nContent-Length: 5"));
    EXPECT_EQ(owner.events[1], "  expect=100-continue") << expect;
    EXPECT_EQ(owner.events[2], "  content-length=5") << expect;
    owner.session.submit_interim(1, go_on);
    EXPECT_EQ(owner.collect(), "HTTP/1.1 100 Continue\r\n\r\n") << expect;
    EXPECT_EQ(owner.talk("hello"), ok) << expect;
  }
  Owner owner;
  EXPECT_EQ(owner.talk(with("Expect:\r\nExpect: x\r\nContent-Length: 5", "hello")), ok);
  EXPECT_EQ(owner.events[1], "  content-length=5");
}

// It may send the body or not: what comes next could be either.
TEST(SessionTest, AnAnswerInsteadOfContinueIsTheLast) {
  Owner owner;
  owner.talk(with("Expect: 100-continue\r\nContent-Length: 5"));
  owner.answer(403, "no");
  EXPECT_EQ(owner.collect(),
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
  EXPECT_FALSE(owner.session.finished());
  owner.session.stop_upload(1);
  EXPECT_TRUE(owner.session.wants_output());
  owner.collect();
  EXPECT_TRUE(owner.session.finished());
  owner.talk(get);
  EXPECT_EQ(owner.events.back(), "closed 1");
}

TEST(SessionTest, OtherInterimAnswersArePassedOn) {
  Owner owner;
  owner.answers = false;
  owner.talk(get);
  http::ResponseHead hints;
  hints.status = 103;
  hints.fields.add("link", "</a>");
  hints.fields.add("content-length", "5");
  owner.session.submit_interim(1, hints);
  hints.status = 101;
  owner.session.submit_interim(1, hints);
  owner.answer(200, "ok");
  owner.session.submit_interim(1, hints);
  EXPECT_EQ(owner.collect(), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + std::string(ok));
}

TEST(SessionTest, AnEarlyAnswerWaitsForTheRestOfAShortUpload) {
  Owner owner;
  owner.answers = false;
  owner.talk(with("Content-Length: 100", "half"));
  owner.answer(200, "ok");
  EXPECT_EQ(owner.collect(), ok);
  EXPECT_EQ(owner.events.back(), "data half");
  owner.answers = true;
  owner.talk(std::string(96, 'x') + get);
  EXPECT_EQ(owner.events.back(), "closed 2");
  EXPECT_FALSE(owner.session.finished());
}

TEST(SessionTest, AnEarlyAnswerToALongUploadIsTheLast) {
  for (const std::string& upload : {with("Content-Length: 100000", "half"), chunked("4\r\nhalf")}) {
    Owner owner;
    owner.answers = false;
    owner.talk(upload);
    owner.answer(200, "ok");
    EXPECT_EQ(owner.collect(), last_ok);
    EXPECT_FALSE(owner.session.finished());  // its client may still be sending
    owner.session.stop_upload(1);
    owner.collect();
    EXPECT_EQ(owner.events.back(), "closed 1");
    EXPECT_TRUE(owner.session.finished());
  }
}

TEST(SessionTest, ABodyThatBreaksARuleEndsTheConnectionBehindTheAnswerThatHasBegun) {
  Owner owner;
  owner.talk(chunked("4\r\nhalf\r\n"));
  owner.begin(200);
  owner.send("part");
  EXPECT_TRUE(owner.collect().ends_with("\r\n4\r\npart\r\n"));
  owner.answers = false;
  EXPECT_EQ(owner.talk("x\r\nGET /marker HTTP/1.1\r\nHost: a\r\n\r\n"), "");
  EXPECT_EQ(owner.refusal, Refusal::chunk_size);
  EXPECT_FALSE(owner.session.finished());
  owner.send("rest");
  owner.finish();
  EXPECT_EQ(owner.collect(), "4\r\nrest\r\n0\r\n\r\n");
  EXPECT_EQ(owner.events.back(), "closed 1");
  EXPECT_TRUE(owner.session.finished());
}

// ---------------------------------------------------------------- answers

TEST(SessionTest, AnAnswerWithoutALengthGoesInChunks) {
  Owner owner;
  owner.answers = false;
  owner.talk(get);
  owner.begin(200, {{"content-type", "application/json"}});
  EXPECT_EQ(owner.collect(),
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
            "\r\n");
  owner.send("{}");
  EXPECT_EQ(owner.collect(), "2\r\n{}\r\n");
  EXPECT_FALSE(owner.session.wants_output());
  owner.send(std::string(300, 'x'));
  EXPECT_EQ(owner.collect(), "12c\r\n" + std::string(300, 'x') + "\r\n");
  owner.finish();
  EXPECT_EQ(owner.collect(), "0\r\n\r\n");
  EXPECT_EQ(owner.events.back(), "closed 1");
  EXPECT_FALSE(owner.session.finished());
  owner.answers = true;
  EXPECT_EQ(owner.talk(get), ok);
}

// Reads chunks as a client does; nothing where they are none.
std::optional<std::string> unchunked(std::string_view text) {
  std::string body;
  for (;;) {
    const std::size_t end = text.find("\r\n");
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    const std::size_t size = std::stoul(std::string(text.substr(0, end)), nullptr, 16);
    text.remove_prefix(end + 2);
    if (text.size() < size + 2 || text.substr(size, 2) != "\r\n") return std::nullopt;
    body += text.substr(0, size);
    text.remove_prefix(size + 2);
    if (size == 0) return text.empty() ? std::optional(body) : std::nullopt;
  }
}

TEST(SessionTest, ChunksOfEverySizeAndBatchAreWhole) {
  Random random(5);
  for (int round = 0; round < 300; ++round) {
    Owner owner;
    owner.answers = false;
    owner.piece_bytes = 1 + random.below(round % 3 == 0 ? 20 : 20'000);
    owner.talk(get);
    owner.begin(200);
    std::string sent(random.below(70'000), 'x');
    for (char& c : sent) c = static_cast<char>(random.below(256));
    owner.more_comes = false;
    owner.send(sent);
    const std::string out = owner.collect(64 + random.below(70'000));
    const std::size_t head = out.find("\r\n\r\n");
    ASSERT_NE(head, std::string::npos);
    ASSERT_EQ(unchunked(out.substr(head + 4)), sent) << round;
    ASSERT_EQ(owner.events.back(), "closed 1");
  }
}

TEST(SessionTest, AnAnswerHasAsManyBytesAsItSays) {
  for (const std::size_t bytes : {4u, 5u, 6u}) {
    Owner owner;
    owner.answers = false;
    owner.talk(get);
    owner.begin(200, {{"content-length", "5"}});
    owner.send(std::string(bytes, 'x'));
    owner.finish();
    const std::string out = owner.collect();
    const std::string body = out.substr(out.find("\r\n\r\n") + 4);
    EXPECT_EQ(owner.events.back(), bytes == 5 ? "closed 1" : "closed 1 cut");
    EXPECT_EQ(owner.session.finished(), bytes != 5);
    if (bytes == 5) {
      EXPECT_EQ(body, "xxxxx");
    } else {
      EXPECT_LT(body.size(), 5u);  // it must not look whole
    }
  }
}

TEST(SessionTest, AnswersToHeadAndWithoutAContentHaveNoBody) {
  struct Case {
    std::string method;
    int status;
    bool has_body;
    std::string expected;
  };
  const std::vector<Case> cases{
      {"HEAD", 200, false, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"},
      {"HEAD", 200, true, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"},
      {"GET", 204, false, "HTTP/1.1 204 No Content\r\n\r\n"},
      {"GET", 204, true, "HTTP/1.1 204 No Content\r\n\r\n"},
      {"GET", 304, true, "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"},
  };
  for (const Case& each : cases) {
    Owner owner;
    owner.answers = false;
    owner.talk(each.method + " /a HTTP/1.1\r\nHost: a\r\n\r\n");
    http::ResponseHead head;
    head.status = each.status;
    head.fields.add("content-length", "7");
    if (each.has_body) owner.body = "1234567";
    owner.session.submit_response(1, head, each.has_body);
    EXPECT_EQ(owner.collect(), each.expected) << each.method << each.status;
    EXPECT_EQ(owner.events.back(), "closed 1");
    EXPECT_FALSE(owner.session.finished());
  }
}

TEST(SessionTest, AnAnswerWithoutABodySaysSo) {
  Owner owner;
  owner.answers = false;
  owner.talk(get);
  http::ResponseHead head;
  head.status = 201;
  owner.session.submit_response(1, head, false);
  EXPECT_EQ(owner.collect(), "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n");
}

TEST(SessionTest, VersionOneZeroIsAnsweredAndClosed) {
  const std::string old = "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  Owner owner;
  EXPECT_EQ(owner.talk(old), last_ok);
  EXPECT_TRUE(owner.session.finished());
  EXPECT_FALSE(owner.session.must_not_close_cleanly());
  // Where no length is known its end is that of the connection.
  for (const bool whole : {true, false}) {
    Owner unknown;
    unknown.answers = false;
    unknown.talk(old);
    unknown.begin(200);
    unknown.send("part");
    EXPECT_EQ(unknown.collect(), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart");
    whole ? unknown.finish() : unknown.session.cut(1);
    EXPECT_EQ(unknown.collect(), "");
    EXPECT_TRUE(unknown.session.finished());
    EXPECT_EQ(unknown.session.must_not_close_cleanly(), !whole);
  }
}

TEST(SessionTest, ATruncatedAnswerHasNoLastChunk) {
  Owner owner;
  owner.answers = false;
  owner.talk(get + get);
  owner.begin(200);
  owner.send("part");
  std::string out = owner.collect();
  owner.session.cut(1);
  EXPECT_TRUE(owner.session.wants_output());
  out += owner.collect();
  EXPECT_TRUE(out.ends_with("\r\n\r\n4\r\npart\r\n")) << out;
  EXPECT_EQ(owner.events.back(), "closed 1 cut");
  EXPECT_TRUE(owner.session.finished());
  EXPECT_FALSE(owner.session.can_go_on());
}

TEST(SessionTest, NobodyElseSaysWhereAnAnswerEnds) {
  Owner owner;
  owner.answers = false;
  owner.talk(get);
  owner.begin(200, {{"transfer-encoding", "gzip"}, {"connection", "x"}, {"keep-alive", "1"}});
  EXPECT_EQ(owner.collect(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
}

TEST(SessionTest, NobodyWritesLinesIntoAnAnswer) {
  Owner owner;
  owner.answers = false;
  owner.talk(get);
  owner.begin(200, {{"x-a", "b\r\nx-b: c"}, {"x:c", "d"}, {"x-e", "f\0g"s}, {"x-h", "i"}});
  EXPECT_EQ(owner.collect(), "HTTP/1.1 200 OK\r\nx-h: i\r\ntransfer-encoding: chunked\r\n\r\n");
}

TEST(SessionTest, AnAnswerWhoseLengthIsNoneIsCut) {
  Owner owner;
  owner.answers = false;
  owner.talk(get);
  owner.begin(200, {{"content-length", "5, 5"}});
  EXPECT_EQ(owner.collect(), "");
  EXPECT_EQ(owner.events.back(), "closed 1 cut");
  EXPECT_TRUE(owner.session.finished());
}

// ---------------------------------------------------------------- the end

TEST(SessionTest, FromTheAnnouncementOnEachAnswerIsTheLast) {
  Owner owner;
  owner.answers = false;
  owner.session.announce_end();
  EXPECT_FALSE(owner.session.finished());
  owner.talk(get + get);
  EXPECT_EQ(owner.events.size(), 1u);
  owner.answer(200, "ok");
  EXPECT_EQ(owner.collect(), last_ok);
  EXPECT_TRUE(owner.session.finished());
  EXPECT_FALSE(owner.session.can_go_on());
}

TEST(SessionTest, StoppedItTakesNoFurtherRequest) {
  Owner idle;
  idle.session.feed(as_bytes("GET / HT"));
  EXPECT_TRUE(idle.session.receiving_head());
  idle.session.stop();
  EXPECT_TRUE(idle.session.finished());
  idle.talk("TP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(idle.events.empty());

  Owner busy;
  busy.answers = false;
  busy.talk(with("Content-Length: 2", "x"));
  busy.begin(200);
  busy.collect();
  busy.session.stop();
  EXPECT_FALSE(busy.session.finished());
  busy.talk("y" + get);
  EXPECT_EQ(busy.events.back(), "end 1");
  busy.send("all");
  busy.finish();
  EXPECT_TRUE(busy.collect().ends_with("0\r\n\r\n"));
  EXPECT_TRUE(busy.session.finished());
}

TEST(SessionTest, WhatIsSaidToARequestThatIsOverDoesNothing) {
  Owner owner;
  owner.talk(get);
  owner.answers = false;
  owner.talk(get);
  owner.session.cut(1);
  owner.session.stop_upload(1);
  owner.session.consume(1, 100);
  owner.session.grow_window(1, 100'000);
  owner.session.resume_body(1);
  http::ResponseHead head;
  head.status = 500;
  owner.session.submit_response(1, head, false);
  EXPECT_EQ(owner.collect(), "");
  owner.answer(200, "ok");
  EXPECT_EQ(owner.collect(), ok);
}

TEST(SessionTest, AHeadIsUnderWayFromItsFirstByteToItsLast) {
  Owner owner;
  EXPECT_FALSE(owner.session.receiving_head());
  for (std::size_t i = 0; i + 1 < get.size(); ++i) {
    owner.session.feed(as_bytes(get).subspan(i, 1));
    EXPECT_TRUE(owner.session.receiving_head());
  }
  owner.session.feed(as_bytes(get).last(1));
  EXPECT_FALSE(owner.session.receiving_head());
  owner.collect();
  EXPECT_FALSE(owner.session.receiving_head());
}

// Whatever comes: the same events whole, byte by byte, and with pauses between.
TEST(SessionTest, EventsDoNotDependOnHowBytesAreCut) {
  Random random(11);
  const std::vector<std::string> parts{
      get,
      with("Content-Length: 5", "hello"),
      chunked("5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nX: y\r\n\r\n"),
      "HEAD /b HTTP/1.1\r\nHost: b\r\n\r\n",
      with("Expect: 100-continue\r\nContent-Length: 3", "abc"),
      "\r\n",
  };
  int refusals = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    for (std::uint32_t n = 1 + random.below(4); n > 0; --n) {
      text += parts[random.below(static_cast<std::uint32_t>(parts.size()))];
    }
    for (std::uint32_t n = random.below(3); n > 0; --n) {
      text[random.below(static_cast<std::uint32_t>(text.size()))] =
          static_cast<char>(random.below(random.below(2) == 0 ? 128 : 256));
    }
    Owner whole;
    const std::string out = whole.talk(text);
    refusals += whole.refusal ? 1 : 0;
    for (const std::size_t step : {std::size_t{1}, 1 + std::size_t{random.below(40)}}) {
      Owner cut({.window_bytes = 1 + random.below(6)});
      EXPECT_EQ(cut.talk(text, step), out) << text;
      EXPECT_EQ(cut.events, whole.events) << text;
      EXPECT_EQ(cut.session.finished(), whole.session.finished()) << text;
    }
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(refusals, 1000);
  EXPECT_LT(refusals, 3500);
}

}  // namespace
}  // namespace sluice::http1
