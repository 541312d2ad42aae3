// Exceptions of any type that are thrown in worker threads come out of the call instead of ending the process.
#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <thread>

#include "data/loader.h"
#include "data/pack/pack.h"
#include "tests/data/made_set.h"

namespace hr {
namespace {

using test::MadeSet;

// A folder that runs out of memory, or fails in another way, on every thread except the one that made it. That thread
// waits until it has happened, so that always another thread meets the exception first.
template <class Exception>
class Failing final : public PictureSource {
 public:
  Failing(const fs::path& folder, Exception exception) : good_(open_pictures(folder)), exception_(exception) {}
  std::string place(const std::string& file_name) const override { return good_->place(file_name); }
  std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>& scratch) const override {
    fail_elsewhere();
    return good_->read(file_name, scratch);
  }
  void glance(const std::string& file_name,
              const std::function<void(std::span<const std::byte>)>& look) const override {
    fail_elsewhere();
    good_->glance(file_name, look);
  }

 private:
  void fail_elsewhere() const {
    if (std::this_thread::get_id() == home_) return failed_.wait(false);
    failed_ = true;
    failed_.notify_all();
    throw exception_;
  }

  std::shared_ptr<const PictureSource> good_;
  Exception exception_;
  std::thread::id home_ = std::this_thread::get_id();
  mutable std::atomic<bool> failed_ = false;
};

template <class Exception>
PoseDataset failing_set(const MadeSet& made, Exception exception) {
  return PoseDataset::from_annotations(made.file, std::make_shared<Failing<Exception>>(made.folder, exception),
                                       coco_skeleton(), made.options);
}

const fs::filesystem_error io_error("read", std::make_error_code(std::errc::io_error));

TEST(Threads, TheCheckOfPicturesCarriesExceptionsOut) {
  const MadeSet made(6);
  PoseDataset no_memory = failing_set(made, std::bad_alloc()), no_disk = failing_set(made, io_error);
  EXPECT_THROW(no_memory.check_pictures(4), std::bad_alloc);
  EXPECT_THROW(no_disk.check_pictures(4), fs::filesystem_error);
}

TEST(Threads, PackingCarriesExceptionsOut) {
  MadeSet made(6);
  made.options.cache_bytes = 0;
  const fs::path path = test::temporary_folder() / "never.pack";
  const PoseDataset no_memory = failing_set(made, std::bad_alloc()), no_disk = failing_set(made, io_error);
  const PackInput first[] = {{"train", &no_memory}}, second[] = {{"train", &no_disk}};
  EXPECT_THROW(write_pack(path, first, 4), std::bad_alloc);
  EXPECT_THROW(write_pack(path, second, 4), fs::filesystem_error);
  EXPECT_FALSE(fs::exists(path));
}

// The workers allocate the memory of a batch, which may be pinned memory of a device.
class LimitedAllocator final : public Allocator {
 public:
  explicit LimitedAllocator(int allocations) : left_(allocations) {}
  void* allocate(size_t bytes) override {
    if (left_-- <= 0) throw std::bad_alloc();
    return ::operator new(bytes);
  }
  void deallocate(void* p, size_t) noexcept override { ::operator delete(p); }
  size_t peak_bytes() const override { return 0; }

 private:
  std::atomic<int> left_;
};

TEST(Threads, ALoaderWithoutMemoryForABatchSaysSo) {
  const MadeSet made(6);
  const PoseDataset data = made.dataset();
  for (const int allocations : {0, 1, 4, 7}) {
    Loader loader(data, {.batch_size = 4, .workers = 3, .allocator = std::make_shared<LimitedAllocator>(allocations)});
    for (const uint64_t epoch : {0, 1}) {  // the loader survives it, too
      loader.start_epoch(epoch);
      const auto run = [&] {
        std::vector<Batch> kept;
        for (Batch batch; loader.next(batch);) kept.push_back(std::move(batch));
      };
      EXPECT_THROW(run(), std::bad_alloc) << allocations;
    }
  }
}

TEST(Threads, ASampleWithoutMemoryComesOutOfTheLoader) {
  const MadeSet made(6);
  const PoseDataset data = failing_set(made, std::bad_alloc());
  Loader loader(data, {.batch_size = 4, .workers = 3});
  loader.start_epoch(0);
  const auto run = [&] {
    for (Batch batch; loader.next(batch);) {
    }
  };
  EXPECT_THROW(run(), std::bad_alloc);
}

}  // namespace
}  // namespace hr
