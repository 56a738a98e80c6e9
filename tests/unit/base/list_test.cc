// SPDX-License-Identifier: GPL-3.0-or-later
// The intrusive list.
#include "sluice/base/list.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

struct OtherTag;
struct Item : ListNode<>, ListNode<OtherTag> {
  explicit Item(int v) : value(v) {}
  int value;
};

TEST(ListTest, KeepsTheOrderOfInsertion) {
  Item a(1), b(2), c(3);
  List<Item> list;
  list.push_back(b);
  list.push_back(c);
  list.push_front(a);
  EXPECT_EQ(list.pop_front()->value, 1);
  EXPECT_EQ(list.pop_front()->value, 2);
  EXPECT_EQ(list.pop_front()->value, 3);
  EXPECT_EQ(list.pop_front(), nullptr);
}

TEST(ListTest, AnElementThatIsDestroyedLeavesItsList) {
  List<Item> list;
  Item a(1);
  list.push_back(a);
  {
    Item b(2);
    list.push_back(b);
  }
  EXPECT_EQ(&list.front(), &list.back());
}

TEST(ListTest, AnElementCanBeInTwoListsAtOnce) {
  List<Item> one;
  List<Item, OtherTag> other;
  Item a(1);
  one.push_back(a);
  other.push_back(a);
  static_cast<ListNode<>&>(a).unlink();
  EXPECT_TRUE(one.empty());
  EXPECT_FALSE(other.empty());
}

TEST(ListTest, ElementsOutliveTheirList) {
  Item a(1);
  {
    List<Item> list;
    list.push_back(a);
  }
  EXPECT_FALSE(static_cast<ListNode<>&>(a).linked());
}

TEST(ListTest, WalksWithNextToTheEnd) {
  Item a(1), b(2);
  List<Item> list;
  list.push_back(a);
  list.push_back(b);
  EXPECT_EQ(list.next(a), &b);
  EXPECT_EQ(list.next(b), nullptr);
}

}  // namespace
}  // namespace sluice
