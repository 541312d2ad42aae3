// A queue between two stages of a pipeline that holds a limited number of items, so that a fast stage waits for a slow
// one.
//   BoundedQueue<Frame> decoded(4, 128 << 20);
//   reader thread:  while (read(frame)) if (!decoded.push(std::move(frame), bytes)) return;  decoded.close();
//   next stage:     while (std::optional<Frame> frame = decoded.pop()) ...
#pragma once
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace hr {

// All functions are thread-safe. The queue must outlive the threads that use it.
template <class T>
class BoundedQueue {
 public:
  // The queue holds at most `most_items` items of together at most `most_bytes` bytes. A single larger item still fits
  // into an empty queue.
  explicit BoundedQueue(size_t most_items, size_t most_bytes = ~size_t{0})
      : most_items_(most_items), most_bytes_(most_bytes) {}

  // Waits until there is room and adds the item. Returns false if the queue was closed or stopped; the item is lost
  // then.
  bool push(T item, size_t bytes = 0) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || has_room(bytes); });
    if (closed_) return false;
    put(std::move(item), bytes);
    return true;
  }
  // Adds the item without waiting and drops the oldest items to make room. Returns how many items were dropped; a
  // closed queue drops the new item.
  size_t push_over_oldest(T item, size_t bytes = 0) {
    const std::lock_guard lock(mutex_);
    if (closed_) return 1;
    size_t gone = 0;
    for (; !has_room(bytes); ++gone) take();
    put(std::move(item), bytes);
    return gone;
  }
  // Waits for an item and returns it. Returns nullopt if the queue was closed and is empty, or if it was stopped.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    item_.wait(lock, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    return take();
  }
  // Returns the next item without waiting, or nullopt if the queue is empty.
  std::optional<T> try_pop() {
    const std::lock_guard lock(mutex_);
    if (items_.empty()) return std::nullopt;
    return take();
  }
  // Ends the input: push() fails from now on, and the items that are in the queue can still be taken.
  void close() { end(false); }
  // Closes the queue and drops its items, so that every stage ends soon after an error.
  void stop() { end(true); }

 private:
  struct Item {
    T value;
    size_t bytes;
  };
  bool has_room(size_t bytes) const {
    return items_.empty() || (items_.size() < most_items_ && bytes_ + bytes <= most_bytes_);
  }
  void put(T item, size_t bytes) {
    items_.push_back({std::move(item), bytes});
    bytes_ += bytes;
    item_.notify_one();
  }
  T take() {
    Item item = std::move(items_.front());
    items_.pop_front();
    bytes_ -= item.bytes;
    room_.notify_all();
    return std::move(item.value);
  }
  void end(bool drop) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (drop) items_.clear(), bytes_ = 0;
    item_.notify_all();
    room_.notify_all();
  }

  const size_t most_items_, most_bytes_;
  std::mutex mutex_;
  std::condition_variable room_, item_;
  std::deque<Item> items_;
  size_t bytes_ = 0;
  bool closed_ = false;
};

}  // namespace hr
