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
  virtual void* allocate(size_t bytes) = 0;  // aligned to alignment(); Error says how much was asked for
  virtual void deallocate(void* pointer, size_t bytes) noexcept = 0;
  virtual size_t alignment() const { return kHostAlignment; }  // of every address, in bytes
  virtual size_t peak_bytes() const = 0;                       // the most that was handed out at one time
};

// Keeps freed blocks for the next request of the same rounded size: training asks for the same sizes every step, and a
// fresh mapping costs a page fault per 4 KiB (on a GPU, a stop of all streams). When the system has no more, what is
// kept goes back to it first. Thread-safe. On a GPU, reuse is ordered by the one stream that all users of an allocator
// share; memory of branches comes from an Arena, which knows them.
class CachingAllocator final : public Allocator {
 public:
  // Where the blocks come from.
  struct Source {
    std::function<void*(size_t bytes)> allocate;  // null when there is no more, or its own Error
    std::function<void(void* pointer)> deallocate;
    size_t alignment = kHostAlignment;  // that allocate() keeps
  };
  static Source host();
  static Source gpu();  // of the current CUDA device; 256-byte aligned, as cudaMalloc's
  // Host memory that a CUDA device reads by itself while the host goes on. Threads that ask for it need not know the
  // device.
  static Source pinned(int device);

  CachingAllocator() : CachingAllocator(host()) {}
  explicit CachingAllocator(Source source) : source_(std::move(source)) {}
  ~CachingAllocator() override;
  void* allocate(size_t bytes) override;
  void deallocate(void* pointer, size_t bytes) noexcept override;
  size_t alignment() const override { return source_.alignment; }
  size_t peak_bytes() const override;
  size_t live_bytes() const;
  void release_cache();  // gives cached blocks back to the system

 private:
  size_t rounded(size_t bytes) const;
  bool release();  // whether there was something; under the mutex
  Source source_;
  mutable std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> free_;
  size_t live_ = 0, peak_ = 0;
};

// The memory that an arena's plan lies in. Arenas of several shapes may share one block where their steps never
// overlap: it is then as large as the largest of them, not as all together.
class ArenaBlock {
 public:
  explicit ArenaBlock(std::shared_ptr<Allocator> parent) : parent_(std::move(parent)) {}
  ~ArenaBlock() { release(); }
  ArenaBlock(const ArenaBlock&) = delete;
  ArenaBlock& operator=(const ArenaBlock&) = delete;

  // At least so many bytes. A block that has to grow moves.
  std::byte* reserve(size_t bytes);
  // Gives the memory back to the system; the next reserve() takes it anew. Not while an arena's step uses it.
  void release() noexcept;
  size_t bytes() const { return bytes_; }
  // Grows with every change of the address: a CUDA graph that was captured at another count must not be launched.
  uint64_t moves() const { return moves_; }

 private:
  friend class Arena;
  std::shared_ptr<Allocator> parent_;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  uint64_t moves_ = 0;
  bool in_use_ = false;  // by a replayed step
};

// Static shapes make every step ask for the same memory in the same order. The first step is recorded on the parent
// allocator, then a layout is planned (lifetimes that overlap do not share), and later steps replay it: allocation is a
// table look-up and addresses never change, which CUDA graphs need (with a shared block: while it does not move).
//   arena->begin_step(); ... arena->end_step();
// Every tensor of a step must be gone before end_step(): Error otherwise, since replay would overwrite it. Not
// thread-safe: the whole step, frees included, belongs to one thread. Arenas that share a block take turns.
class Arena final : public Allocator {
 public:
  // Without a block: one of its own.
  explicit Arena(std::shared_ptr<Allocator> parent, std::shared_ptr<ArenaBlock> block = nullptr);

  void begin_step();  // Error while a step of another arena replays in the same block
  void end_step();
  void abort_step() noexcept;  // after an exception: forgets a recording under way

  void* allocate(size_t bytes) override;  // Error if a replayed step asks for something else than the recorded one
  void deallocate(void* pointer, size_t bytes) noexcept override;
  size_t alignment() const override { return parent_->alignment(); }
  size_t peak_bytes() const override;  // the planned block, or the recording's peak
  bool replaying() const { return planned_; }

  // Work that will run side by side on several streams is still recorded one branch after the other. Between
  // begin_branches() and end_branches(), memory that a branch gives back is used again by this branch only, and memory
  // from before them by nobody.
  void begin_branches();
  void enter_branch(int branch);
  void end_branches();

 private:
  struct Request {
    size_t bytes = 0;
    size_t born = 0, died = 0;  // position in the sequence of allocations and frees
    size_t offset = 0;
    int region = 0, branch = 0;  // where it was born; region 0: outside of all
    int death_region = 0, death_branch = 0;
  };
  size_t aligned(size_t bytes) const;  // rounded up to alignment()
  bool may_share(const Request& earlier, const Request& later) const;
  void plan();

  std::shared_ptr<Allocator> parent_;
  std::vector<Request> requests_;
  std::map<const void*, size_t> live_;  // pointer -> request
  size_t clock_ = 0, next_ = 0;
  int regions_ = 0, region_ = 0, branch_ = 0;
  bool in_step_ = false, planned_ = false;
  std::shared_ptr<ArenaBlock> block_;
  std::byte* base_ = nullptr;  // where the block lies in the step under way
  size_t block_bytes_ = 0, live_bytes_ = 0, peak_ = 0;
};

}  // namespace hr
