// SPDX-License-Identifier: GPL-3.0-or-later
// What is told of an exchange, and what is not.
#include "exchange_record.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

class ExchangeRecordTest : public testing::Test {
 protected:
  ExchangeRecordTest() {
    head.method = "GET";
    head.path = "/api/v1/namespaces/default/pods/web?token=secret";
    head.fields.add("authorization", "Bearer secret");
    head.fields.add("user-agent", "kubectl");
    plan = *plan_request(head);
    record.started = Instant(10s);
    record.bytes_in = 7;
  }
  ExchangeView view(const http::ResponseHead* answer = nullptr) const {
    return {"one", record, head, plan, attempts, "api-0", answer, 42, Instant(12s)};
  }

  http::RequestHead head;
  RequestPlan plan;
  Attempts attempts;
  ExchangeRecord record;
};

TEST_F(ExchangeRecordTest, WithoutAnAnswerThereIsNoStatus) {
  const observability::AccessRecord line = access_record(view());
  EXPECT_EQ(line.status, 0);
  EXPECT_EQ(line.audit_id, "");
  EXPECT_EQ(line.cluster, "one");
  EXPECT_EQ(line.user_agent, "kubectl");
  EXPECT_EQ(line.resource, "pods");
  EXPECT_EQ(line.duration, 2s);
}

TEST_F(ExchangeRecordTest, AnAnswerGivesItsStatusAndItsAuditId) {
  http::ResponseHead answer;
  answer.status = 404;
  answer.fields.add("audit-id", "abc");
  const observability::AccessRecord line = access_record(view(&answer));
  EXPECT_EQ(line.status, 404);
  EXPECT_EQ(line.audit_id, "abc");
  EXPECT_EQ(line.bytes_in, 7U);
  EXPECT_EQ(line.bytes_out, 42U);
}

TEST_F(ExchangeRecordTest, ItsDescriptionNamesWhatWasAskedForAndNothingElse) {
  EXPECT_EQ(describe(view(), ExchangeState::waiting, 5),
            "exchange state=waiting class=short_read verb=get resource=pods namespace=default "
            "name=web backend=api-0 tries=0 age=2.0s bytes_in=7 bytes_out=42 pending=5");
}

TEST_F(ExchangeRecordTest, LongNamesAreShortened) {
  head.path = "/api/v1/namespaces/default/pods/" + std::string(1000, 'n');
  plan = std::move(*plan_request(head));
  EXPECT_LT(describe(view(), ExchangeState::waiting, 0).size(), 500U);
}

}  // namespace
}  // namespace sluice::proxy
