#include "core/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace hr {
namespace {

TEST(BoundedQueue, KeepsTheOrderAndEndsWhenItIsClosed) {
  BoundedQueue<std::unique_ptr<int>> queue(3);
  std::thread writer([&] {
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(queue.push(std::make_unique<int>(i)));
    queue.close();
  });
  int next = 0;
  while (const auto item = queue.pop()) EXPECT_EQ(**item, next++);
  writer.join();
  EXPECT_EQ(next, 1000);
  EXPECT_FALSE(queue.push(nullptr));
  EXPECT_FALSE(queue.try_pop());
}

TEST(BoundedQueue, AFullOneDropsItsOldest) {
  BoundedQueue<int> queue(2);
  EXPECT_EQ(queue.push_over_oldest(1), 0U);
  EXPECT_EQ(queue.push_over_oldest(2), 0U);
  EXPECT_EQ(queue.push_over_oldest(3), 1U);
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.try_pop(), 3);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueue, BytesAreBoundedAndAnItemLargerThanTheBoundStillPasses) {
  BoundedQueue<int> queue(10, 100);
  EXPECT_TRUE(queue.push(1, 1000));
  EXPECT_EQ(queue.push_over_oldest(2, 60), 1U);
  EXPECT_EQ(queue.push_over_oldest(3, 40), 0U);
  EXPECT_EQ(queue.push_over_oldest(4, 1), 1U);
  EXPECT_EQ(queue.pop(), 3);
}

TEST(BoundedQueue, StoppingWakesAWriterThatWaitsForRoom) {
  BoundedQueue<int> queue(1);
  EXPECT_TRUE(queue.push(1));
  std::thread writer([&] { EXPECT_FALSE(queue.push(2)); });
  queue.stop();
  writer.join();
  EXPECT_EQ(queue.pop(), std::nullopt);
}

}  // namespace
}  // namespace hr
