// SPDX-License-Identifier: GPL-3.0-or-later
// Intrusive doubly linked list. The node is a base class of the element, distinguished by a tag, so
// that one element can be in several lists. The list owns nothing; an element leaves its list when
// it is destroyed.
#pragma once

#include <cstddef>

#include "sluice/base/check.h"

namespace sluice {

template <class Tag = void>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != nullptr; }

  void unlink() {
    if (next_ == nullptr) return;
    next_->previous_ = previous_;
    previous_->next_ = next_;
    next_ = previous_ = nullptr;
  }

 private:
  template <class, class>
  friend class List;
  ListNode* next_ = nullptr;
  ListNode* previous_ = nullptr;
};

template <class T, class Tag = void>
class List {
  using Node = ListNode<Tag>;

 public:
  List() { head_.next_ = head_.previous_ = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() {
    clear();
    head_.next_ = head_.previous_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }

  void push_back(T& element) { insert_before(head_, element); }
  void push_front(T& element) { insert_before(*head_.next_, element); }

  T& front() {
    CHECK(!empty());
    return from(head_.next_);
  }

  T& back() {
    CHECK(!empty());
    return from(head_.previous_);
  }

  T* pop_front() {
    if (empty()) return nullptr;
    T& element = from(head_.next_);
    static_cast<Node&>(element).unlink();
    return &element;
  }

  // The element after `element`, or null at the end.
  T* next(T& element) {
    Node* node = static_cast<Node&>(element).next_;
    return node == &head_ ? nullptr : &from(node);
  }

  void clear() {
    while (pop_front() != nullptr) {
    }
  }

  // Moves all elements of `other` to the end of this list.
  void splice_back(List& other) {
    while (T* element = other.pop_front()) push_back(*element);
  }

 private:
  static T& from(Node* node) { return static_cast<T&>(*node); }

  void insert_before(Node& where, T& element) {
    Node& node = static_cast<Node&>(element);
    DCHECK(!node.linked());
    node.next_ = &where;
    node.previous_ = where.previous_;
    where.previous_->next_ = &node;
    where.previous_ = &node;
  }

  Node head_;
};

}  // namespace sluice
