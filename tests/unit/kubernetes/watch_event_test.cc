// SPDX-License-Identifier: GPL-3.0-or-later
// Which first events of a watch say 410. The bytes are those that k8s.io/apimachinery 0.37 writes.
#include "sluice/kubernetes/watch_event.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <string_view>
#include <vector>

#include "cbor_reader.h"
#include "protobuf_fields.h"

namespace sluice::kubernetes {
namespace {

using namespace std::string_literals;

std::string bytes(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    text += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  }
  return text;
}

constexpr std::string_view json_expired =
    R"({"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},)"
    R"x("status":"Failure","message":"too old resource version: 577 (624)","reason":"Expired",)x"
    R"("code":410}})";
constexpr std::string_view json_added =
    R"({"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1",)"
    R"("metadata":{"name":"a","resourceVersion":"5"}}})";
const std::string protobuf_expired = bytes(
    "000000650a054552524f52125c0a5a6b3873000a0c0a027631120653746174757312420a060a0012001a001207"
    "4661696c7572651a23746f6f206f6c64207265736f757263652076657273696f6e3a2035373720283632342922"
    "0745787069726564309a031a002200");
const std::string protobuf_added = bytes(
    "0000003a0a05414444454412310a2f6b3873000a0f0a0276311209436f6e6669674d617012140a120a01611200"
    "1a0022002a00320135380042001a002200");
const std::string cbor_expired = bytes(
    "d9d9f7a24474797065454552524f52466f626a656374d9d9f7a744636f646519019a446b696e64465374617475"
    "7346726561736f6e474578706972656446737461747573474661696c757265476d6573736167655823746f6f20"
    "6f6c64207265736f757263652076657273696f6e3a20353737202836323429486d65746164617461a04a617069"
    "56657273696f6e427631");
const std::string cbor_added = bytes(
    "d9d9f7a24474797065454144444544466f626a656374d9d9f7a3446b696e6449436f6e6669674d6170486d6574"
    "6164617461a2446e616d6541614f7265736f7572636556657273696f6e41354a61706956657273696f6e427631");

struct Form {
  std::string_view content_type;
  std::string expired;
  std::string added;
};
const std::vector<Form> forms = {
    {"application/json", std::string(json_expired), std::string(json_added)},
    {"application/json;stream=watch", std::string(json_expired), std::string(json_added)},
    {"application/vnd.kubernetes.protobuf;stream=watch", protobuf_expired, protobuf_added},
    {"application/cbor-seq", cbor_expired, cbor_added},
};

http::ResponseHead head(std::string_view content_type, std::string_view encoding = {}) {
  http::ResponseHead head;
  head.status = 200;
  head.fields.add("content-type", content_type);
  if (!encoding.empty()) head.fields.add("content-encoding", encoding);
  return head;
}

FirstEvent look(std::string_view content_type, std::string_view body) {
  return look_at_first_event(head(content_type), body);
}

// As a server does that flushes behind each event.
std::string gzip(std::string_view plain) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string input(plain);
  std::string out(plain.size() + 1024, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_SYNC_FLUSH), Z_OK);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

TEST(WatchEventTest, A410IsSeenInEachFormWhereverItIsCut) {
  for (const Form& form : forms) {
    for (std::size_t bytes = 0; bytes < form.expired.size(); ++bytes) {
      EXPECT_EQ(look(form.content_type, form.expired.substr(0, bytes)), FirstEvent::unfinished)
          << form.content_type << " " << bytes;
    }
    EXPECT_EQ(look(form.content_type, form.expired), FirstEvent::expired) << form.content_type;
    EXPECT_EQ(look(form.content_type, form.expired + form.added), FirstEvent::expired);
  }
}

TEST(WatchEventTest, AnotherEventIsNeverTakenForOne) {
  for (const Form& form : forms) {
    bool told = false;
    for (std::size_t bytes = 0; bytes <= form.added.size(); ++bytes) {
      const FirstEvent seen = look(form.content_type, form.added.substr(0, bytes));
      EXPECT_NE(seen, FirstEvent::expired) << form.content_type << " " << bytes;
      EXPECT_FALSE(told && seen == FirstEvent::unfinished) << form.content_type << " " << bytes;
      told = seen == FirstEvent::other;
    }
    EXPECT_TRUE(told) << form.content_type;
    EXPECT_EQ(look(form.content_type, form.added + form.expired), FirstEvent::other);
  }
}

TEST(WatchEventTest, AnAddedObjectIsKnownByItsFirstBytes) {
  EXPECT_EQ(look("application/json", R"({"type":"A)"), FirstEvent::other);
  EXPECT_EQ(look("application/vnd.kubernetes.protobuf", protobuf_added.substr(0, 8)),
            FirstEvent::other);
  EXPECT_EQ(look("application/cbor-seq", cbor_added.substr(0, 15)), FirstEvent::other);
}

TEST(WatchEventTest, A410IsSeenThroughGzipWhereverItIsCut) {
  for (const Form& form : forms) {
    const http::ResponseHead answer = head(form.content_type, "gzip");
    const std::string compressed = gzip(form.expired);
    bool told = false;
    for (std::size_t bytes = 0; bytes <= compressed.size(); ++bytes) {
      const FirstEvent seen = look_at_first_event(answer, compressed.substr(0, bytes));
      EXPECT_NE(seen, FirstEvent::other) << form.content_type << " " << bytes;
      EXPECT_FALSE(told && seen == FirstEvent::unfinished) << form.content_type << " " << bytes;
      told = seen == FirstEvent::expired;
    }
    EXPECT_TRUE(told) << form.content_type;
    EXPECT_EQ(look_at_first_event(answer, gzip(form.added)), FirstEvent::other);
    EXPECT_EQ(look_at_first_event(answer, form.expired), FirstEvent::other) << "it is no gzip";
    EXPECT_EQ(look_at_first_event(head(form.content_type, "br"), compressed), FirstEvent::other);
    EXPECT_EQ(look_at_first_event(head(form.content_type), compressed), FirstEvent::other);
  }
}

TEST(WatchEventTest, WhatInflatesToMoreThanSuchAnEventCanBeIsNone) {
  std::string text(json_expired);
  text.replace(text.find("577"), 3, std::string(100'000, '7'));
  const std::string compressed = gzip(text);
  ASSERT_LT(compressed.size(), first_event_bytes_max);
  EXPECT_EQ(look_at_first_event(head("application/json", "gzip"), compressed), FirstEvent::other);
}

TEST(WatchEventTest, WhatIsLongerThanSuchAnEventCanBeIsNone) {
  const std::size_t more = first_event_bytes_max - json_expired.size();
  const auto padded = [&](std::size_t bytes) {
    std::string text(json_expired);
    text.insert(text.find("577"), bytes, '7');
    return text;
  };
  EXPECT_EQ(look("application/json", padded(more)), FirstEvent::expired);
  EXPECT_EQ(look("application/json", padded(more + 1)), FirstEvent::other);
  EXPECT_EQ(look("application/json", padded(more + 1).substr(0, first_event_bytes_max)),
            FirstEvent::other);
  EXPECT_EQ(look("application/vnd.kubernetes.protobuf", "\x00\x00\x10\x01\x0a\x05"s),
            FirstEvent::other);
}

TEST(WatchEventTest, OnlyTheCodeOfTheStatusItselfCounts) {
  const auto with = [](std::string_view object) {
    return R"({"type":"ERROR","object":{)" + std::string(object) + "}}";
  };
  const auto look_at = [&](std::string_view object) {
    return look("application/json", with(object));
  };
  EXPECT_EQ(look_at(R"("code":410)"), FirstEvent::expired);
  EXPECT_EQ(look_at(R"("code":410,"details":{"code":500})"), FirstEvent::expired);
  EXPECT_EQ(look_at(R"("message":"\"}\\","code":410)"), FirstEvent::expired);
  EXPECT_EQ(look_at(R"("code":500,"details":{"code":410})"), FirstEvent::other);
  EXPECT_EQ(look_at(R"("details":[{"code":410}])"), FirstEvent::other);
  EXPECT_EQ(look_at(R"("message":"\"code\":410")"), FirstEvent::other);
  EXPECT_EQ(look_at(R"("code":"410")"), FirstEvent::other);
  EXPECT_EQ(look_at(R"("code":4100)"), FirstEvent::other);
  EXPECT_EQ(look_at(R"("code":-410)"), FirstEvent::other);
  EXPECT_EQ(look_at(R"("code":429)"), FirstEvent::other);
  EXPECT_EQ(look_at(""), FirstEvent::other);
  EXPECT_EQ(look("application/json", R"({"object":{"code":410},"type":"ERROR"})"),
            FirstEvent::other);
}

TEST(WatchEventTest, OtherFormsAreNotLookedInto) {
  for (const std::string_view type :
       {"", "text/plain", "application/cbor", "application/jsonx", "application/yaml"}) {
    for (const Form& form : forms) {
      EXPECT_EQ(look(type, form.expired), FirstEvent::other) << type;
    }
  }
  EXPECT_EQ(look_at_first_event({}, json_expired), FirstEvent::other);
  EXPECT_EQ(look("Application/JSON; charset=utf-8", json_expired), FirstEvent::expired);
}

TEST(WatchEventTest, OddProtobufIsNone) {
  const auto event = [](std::string body) {
    return "\0\0\0"s + static_cast<char>(body.size()) + body;
  };
  const auto look_at = [&](std::string body) {
    return look("application/vnd.kubernetes.protobuf", event(std::move(body)));
  };
  const std::string body = protobuf_expired.substr(4);
  EXPECT_EQ(look_at(body), FirstEvent::expired);
  EXPECT_EQ(look_at(body + "\x18\x01"), FirstEvent::expired) << "a field that is new to us";
  EXPECT_EQ(look_at(body + "\x18"), FirstEvent::other) << "its end is cut";
  EXPECT_EQ(look_at(body + "\x0a\x05"
                           "ADDED"),
            FirstEvent::other)
      << "the last one counts";
  EXPECT_EQ(look_at(body + "\x1b"), FirstEvent::other) << "a group";
  EXPECT_EQ(look_at(body + "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), FirstEvent::other);
  std::string no_magic = body;
  no_magic[no_magic.find("k8s")] = 'K';
  EXPECT_EQ(look_at(no_magic), FirstEvent::other);
}

TEST(WatchEventTest, OddCborIsNone) {
  const auto look_at = [](std::string_view hex) {
    return look("application/cbor-seq", bytes(hex));
  };
  // {"type": "ERROR", "object": {"code": 410}}, as bytes, as text, with text keys
  EXPECT_EQ(look_at("a24474797065454552524f52466f626a656374a144636f646519019a"),
            FirstEvent::expired);
  EXPECT_EQ(look_at("a26474797065654552524f52666f626a656374a164636f646519019a"),
            FirstEvent::expired);
  EXPECT_EQ(look_at("a2666f626a656374a164636f646519019a6474797065654552524f52"),
            FirstEvent::expired)
      << "in any order";
  EXPECT_EQ(look_at("a2666f626a656374a164636f646519019a64747970656541444445"),
            FirstEvent::unfinished);
  EXPECT_EQ(look_at("a2666f626a656374a164636f646519019a6474797065654144444544"), FirstEvent::other);
  EXPECT_EQ(look_at("a1666f626a656374a164636f646519019a"), FirstEvent::other) << "of no type";
  EXPECT_EQ(look_at("a26474797065654552524f52666f626a656374a164636f646539019a"), FirstEvent::other)
      << "a negative one";
  EXPECT_EQ(look_at("bf6474797065654552524f52"), FirstEvent::other) << "of no length";
  EXPECT_EQ(look_at("a20102"), FirstEvent::other) << "its members have no names";
  EXPECT_EQ(look_at("80"), FirstEvent::other);
  EXPECT_EQ(look_at("fc"), FirstEvent::other);
  EXPECT_EQ(look_at("a16161bbffffffffffffffff"), FirstEvent::unfinished);
}

TEST(CborReaderTest, NestingHasABound) {
  std::string deep(CborReader::depth_max + 1, '\x81');
  deep += '\0';
  std::string flat(CborReader::depth_max, '\x81');
  flat += '\0';
  CborReader in(flat);
  in.skip();
  EXPECT_TRUE(in.good());
  CborReader odd(deep);
  odd.skip();
  EXPECT_FALSE(odd.good());
  EXPECT_FALSE(odd.unfinished());
}

TEST(ProtobufFieldsTest, NumbersHaveSixtyFourBits) {
  EXPECT_EQ(ProtobufFields("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").number(1), UINT64_MAX);
  EXPECT_EQ(ProtobufFields("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").number(1), std::nullopt);
  EXPECT_EQ(ProtobufFields("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01").number(1),
            std::nullopt);
  EXPECT_EQ(ProtobufFields("\x0d"
                           "abcd\x11"
                           "abcdefgh\x18\x07")
                .number(3),
            7U);
  EXPECT_EQ(ProtobufFields("").number(1), std::nullopt);
}

}  // namespace
}  // namespace sluice::kubernetes
