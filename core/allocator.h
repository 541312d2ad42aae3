// Memory for tensors: a caching allocator, and an arena that records one step's allocations and replays them at fixed
// addresses.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hr {

constexpr size_t kHostAlignment = 64;  // a cache line and an AVX-512 register

class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual void* allocate(size_t bytes) = 0;  // Aligned to alignment(). Throws Error that says how much was asked for.
  virtual void deallocate(void* pointer, size_t bytes) noexcept = 0;
  virtual size_t alignment() const { return kHostAlignment; }  // The alignment of every returned address, in bytes.
  virtual size_t peak_bytes() const = 0;  // The largest number of bytes that were handed out at one time.
};

// Keeps freed blocks for the next request of the same rounded size. Training asks for the same sizes every step, and a
// fresh mapping costs a page fault per 4 KiB (on a GPU, it stops all streams). When the system has no more memory,
// cached blocks are given back to it and the request is tried again. Thread-safe. On a GPU all users of one allocator
// share one stream, and that stream orders the reuse of blocks. Memory of parallel branches comes from an Arena, which
// knows the branches.
class CachingAllocator final : public Allocator {
 public:
  // The functions that take blocks from the system and give them back.
  struct Source {
    std::function<void*(size_t bytes)> allocate;  // Returns null when there is no more memory, or throws its own Error.
    std::function<void(void* pointer)> deallocate;
    size_t alignment = kHostAlignment;  // The alignment that allocate() guarantees.
    // Called after many blocks were given back. It may be empty.
    std::function<void()> trim = {};
  };
  static Source host();
  static Source gpu();  // Memory of the current CUDA device, aligned to 256 bytes as cudaMalloc's is.
  // Host memory that a CUDA device can read while the host continues. It is allocated for `device`, so that threads
  // that ask for memory need not make the device current first.
  static Source pinned(int device);

  CachingAllocator() : CachingAllocator(host()) {}
  explicit CachingAllocator(Source source) : source_(std::move(source)) {}
  ~CachingAllocator() override;
  void* allocate(size_t bytes) override;
  void deallocate(void* pointer, size_t bytes) noexcept override;
  size_t alignment() const override { return source_.alignment; }
  size_t peak_bytes() const override;
  size_t live_bytes() const;
  void release_cache();  // Gives all cached blocks back to the system.

 private:
  size_t rounded(size_t bytes) const;
  bool release();  // Returns whether there was anything to give back. The caller holds the mutex.
  Source source_;
  mutable std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> free_;
  size_t live_ = 0, peak_ = 0;
};

// The memory in which the plan of an arena lies. Arenas of several shapes may share one block if their steps never
// overlap in time. The block is then as large as the largest plan, not as all of them together. Not thread-safe.
class ArenaBlock {
 public:
  explicit ArenaBlock(std::shared_ptr<Allocator> parent) : parent_(std::move(parent)) {}
  ~ArenaBlock() { release(); }
  ArenaBlock(const ArenaBlock&) = delete;
  ArenaBlock& operator=(const ArenaBlock&) = delete;

  // Returns at least `bytes` bytes. A block that has to grow moves to another address.
  std::byte* reserve(size_t bytes);
  // Gives the memory back to the system; the next reserve() allocates it again. Must not be called while a step of an
  // arena uses the block.
  void release() noexcept;
  size_t bytes() const { return bytes_; }
  // The number of times that the address has changed. A CUDA graph must not be launched if this differs from the value
  // at its capture.
  uint64_t moves() const { return moves_; }

 private:
  friend class Arena;
  std::shared_ptr<Allocator> parent_;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  uint64_t moves_ = 0;
  bool in_use_ = false;  // A replayed step is using the block.
};

// Static shapes make every step ask for the same memory in the same order. The first step is recorded on the parent
// allocator. Then a layout is planned in which tensors with overlapping lifetimes do not share memory, and later steps
// replay it: an allocation is a table look-up and addresses never change, which CUDA graphs need. (With a shared block
// this holds while the block does not move.)
//   arena->begin_step(); ... arena->end_step();
// All tensors of a step must be destroyed before end_step(), which throws Error otherwise, because the replay would
// overwrite them. Not thread-safe: the whole step, deallocations included, belongs to one thread, and arenas that share
// a block take turns.
class Arena final : public Allocator {
 public:
  // Without `block` the arena makes a block of its own.
  explicit Arena(std::shared_ptr<Allocator> parent, std::shared_ptr<ArenaBlock> block = nullptr);

  void begin_step();  // Throws Error while a step of another arena replays in the same block.
  void end_step();
  void abort_step() noexcept;  // Call after an exception: discards an unfinished recording.

  void* allocate(size_t bytes) override;  // Throws Error if a replayed step requests anything but what was recorded.
  void deallocate(void* pointer, size_t bytes) noexcept override;
  size_t alignment() const override { return parent_->alignment(); }
  size_t peak_bytes() const override;  // The size of the plan, or the peak of the recording.
  bool replaying() const { return planned_; }
  // Memory is used again only after so many later allocations and frees. Call it before the first step.
  void reuse_after(size_t requests) { reuse_after_ = requests; }

  // Branches that will run in parallel on several streams are recorded one after the other. Between begin_branches()
  // and end_branches(), memory that a branch frees is reused by the same branch only, and memory that existed before
  // begin_branches() is not reused by any branch.
  void begin_branches();
  void enter_branch(int branch);
  void end_branches();

 private:
  struct Request {
    size_t bytes = 0;
    size_t born = 0, died = 0;  // Positions in the sequence of allocations and frees.
    size_t offset = 0;
    int region = 0, branch = 0;  // The request was made in this branch. Region 0 lies outside of all branches.
    int death_region = 0, death_branch = 0;
  };
  size_t aligned(size_t bytes) const;  // rounded up to alignment()
  bool may_share(const Request& earlier, const Request& later) const;
  void plan();

  std::shared_ptr<Allocator> parent_;
  std::vector<Request> requests_;
  std::map<const void*, size_t> live_;  // pointer -> request
  size_t clock_ = 0, next_ = 0, reuse_after_ = 0;
  int regions_ = 0, region_ = 0, branch_ = 0;
  bool in_step_ = false, planned_ = false;
  std::shared_ptr<ArenaBlock> block_;
  std::byte* base_ = nullptr;  // The address of the block in the current step.
  size_t block_bytes_ = 0, live_bytes_ = 0, peak_ = 0;
};

}  // namespace hr
