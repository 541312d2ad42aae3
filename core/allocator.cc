#include "core/allocator.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "core/cuda.h"
#include "core/huge_pages.h"

namespace hr {
namespace {
// Rounds up to a multiple. A request of 0 bytes gets memory too, so that every block has an address of its own.
size_t round_up(size_t bytes, size_t multiple) {
  return std::max(multiple, (bytes + multiple - 1) / multiple * multiple);
}
}  // namespace

size_t CachingAllocator::rounded(size_t bytes) const {
  constexpr size_t page = 4096;
  return round_up(bytes, bytes < page ? source_.alignment : page);
}

CachingAllocator::Source CachingAllocator::host() {
  // free() alone keeps the pages of blocks of up to 32 MiB, to which the C library raises its threshold for memory of
  // its own when such a block is freed: 60 MB for inference with hrnet_w32, batch 8.
  const auto trim = [] {
#ifdef __GLIBC__
    ::malloc_trim(0);
#endif
  };
  return {allocate_on_huge_pages, [](void* p) { std::free(p); }, kHostAlignment, trim};
}

CachingAllocator::Source CachingAllocator::gpu() {
  return {cuda::allocate, [](void* p) { cuda::deallocate(p); }, 256};
}

CachingAllocator::Source CachingAllocator::pinned(int device) {
  return {[device](size_t bytes) {
            cuda::use_device(device);
            return cuda::allocate_pinned(bytes);
          },
          [](void* p) { cuda::deallocate_pinned(p); }};
}

CachingAllocator::~CachingAllocator() { release_cache(); }

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  if (auto& blocks = free_[size]; !blocks.empty()) {
    pointer = blocks.back();
    blocks.pop_back();
  } else {
    try {
      pointer = source_.allocate(size);
    } catch (const OutOfMemory&) {
      if (!release()) throw;
      pointer = source_.allocate(size);  // Blocks of other sizes had occupied the memory.
    }
    if (pointer == nullptr && release()) pointer = source_.allocate(size);
    if (pointer == nullptr) {
      fail("out of memory: {} MiB asked for while {} MiB are in use; a smaller `batch_size` needs less", size >> 20,
           live_ >> 20);
    }
  }
  live_ += size;
  peak_ = std::max(peak_, live_);
  return pointer;
}

void CachingAllocator::deallocate(void* pointer, size_t bytes) noexcept {
  const size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  live_ -= size;
  free_[size].push_back(pointer);
}

size_t CachingAllocator::peak_bytes() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

size_t CachingAllocator::live_bytes() const {
  const std::lock_guard lock(mutex_);
  return live_;
}

void CachingAllocator::release_cache() {
  const std::lock_guard lock(mutex_);
  release();
}

bool CachingAllocator::release() {
  bool any = false;
  for (auto& [size, blocks] : free_) {
    for (void* p : blocks) source_.deallocate(p);
    any = any || !blocks.empty();
    blocks.clear();
  }
  if (any && source_.trim) source_.trim();
  return any;
}

std::byte* ArenaBlock::reserve(size_t bytes) {
  if (bytes <= bytes_) return data_;
  check(!in_use_, "arena: a block cannot move while a step uses it");
  release();
  data_ = static_cast<std::byte*>(parent_->allocate(bytes));
  bytes_ = bytes;
  ++moves_;
  return data_;
}

void ArenaBlock::release() noexcept {
  if (data_ == nullptr) return;
  parent_->deallocate(data_, bytes_);
  if (auto* cache = dynamic_cast<CachingAllocator*>(parent_.get())) cache->release_cache();
  data_ = nullptr;
  bytes_ = 0;
  ++moves_;
}

Arena::Arena(std::shared_ptr<Allocator> parent, std::shared_ptr<ArenaBlock> block)
    : parent_(std::move(parent)), block_(block ? std::move(block) : std::make_shared<ArenaBlock>(parent_)) {}

size_t Arena::aligned(size_t bytes) const { return round_up(bytes, alignment()); }

void Arena::begin_step() {
  check(!in_step_ && live_.empty(), "arena: a step began while another one was under way");
  if (planned_) {
    check(!block_->in_use_, "arena: a step began while another arena's step used the same block");
    base_ = block_->reserve(block_bytes_);
    block_->in_use_ = true;
  } else {
    requests_.clear();
  }
  in_step_ = true;
  clock_ = next_ = 0;
  regions_ = region_ = branch_ = 0;
  live_bytes_ = 0;
}

void Arena::end_step() {
  check(in_step_, "arena: end_step without begin_step");
  check(live_.empty(), "arena: {} tensors of this step are still alive; the next step would overwrite them",
        live_.size());
  check(!planned_ || next_ == requests_.size(), "arena: this step made {} allocations, the recorded one {}", next_,
        requests_.size());
  in_step_ = false;
  planned_ ? void(block_->in_use_ = false) : plan();
}

void Arena::abort_step() noexcept {
  if (in_step_ && planned_) block_->in_use_ = false;
  in_step_ = false;
  if (!planned_) requests_.clear();
}

void* Arena::allocate(size_t bytes) {
  check(in_step_, "arena: allocation outside a step");
  if (!planned_) {
    void* pointer = parent_->allocate(bytes);
    live_[pointer] = requests_.size();
    requests_.push_back({.bytes = bytes, .born = clock_++, .region = region_, .branch = branch_});
    live_bytes_ += aligned(bytes);
    peak_ = std::max(peak_, live_bytes_);
    return pointer;
  }
  check(next_ < requests_.size() && requests_[next_].bytes == bytes,
        "arena: allocation {} of this step asks for {} bytes, the recorded step asked for {}", next_, bytes,
        next_ < requests_.size() ? requests_[next_].bytes : 0);
  std::byte* pointer = base_ + requests_[next_].offset;
  // A tensor that lives longer than in the recording would be overwritten here.
  const auto after = live_.lower_bound(pointer);
  const bool hits_next = after != live_.end() && after->first < pointer + aligned(bytes);
  bool hits_previous = false;
  if (after != live_.begin()) {
    const auto before = std::prev(after);
    hits_previous = static_cast<const std::byte*>(before->first) + aligned(requests_[before->second].bytes) > pointer;
  }
  check(!hits_next && !hits_previous, "arena: a tensor outlives its recorded lifetime at allocation {}", next_);
  live_[pointer] = next_++;
  return pointer;
}

void Arena::deallocate(void* pointer, size_t bytes) noexcept {
  const auto it = live_.find(pointer);
  if (it == live_.end()) return;
  if (!planned_) {
    // Otherwise the block is freed after abort_step() and is not part of the recording.
    if (it->second < requests_.size()) {
      Request& r = requests_[it->second];
      r.died = clock_++;
      r.death_region = region_;
      r.death_branch = branch_;
    }
    live_bytes_ -= aligned(bytes);
    parent_->deallocate(pointer, bytes);
  }
  live_.erase(it);
}

size_t Arena::peak_bytes() const { return planned_ ? block_bytes_ : peak_; }

void Arena::begin_branches() {
  check(region_ == 0, "arena: branches cannot be nested");
  region_ = ++regions_;
  branch_ = 0;
}

void Arena::enter_branch(int branch) { branch_ = branch; }

void Arena::end_branches() { region_ = branch_ = 0; }

// Returns whether `later`, which is born after `earlier` died, may use the same memory.
bool Arena::may_share(const Request& earlier, const Request& later) const {
  if (earlier.death_region == 0 || earlier.death_region != later.region) return true;
  return earlier.region == later.region && earlier.branch == later.branch && earlier.death_branch == later.branch;
}

// Places the largest request first, each at the lowest offset that is free during its lifetime (the usual greedy offset
// assignment).
void Arena::plan() {
  block_bytes_ = 0;
  std::vector<size_t> order(requests_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests_[a].bytes > requests_[b].bytes; });
  std::vector<size_t> placed;
  std::vector<std::pair<size_t, size_t>> taken;  // Ranges of offsets that are in use during this lifetime.
  for (const size_t i : order) {
    Request& r = requests_[i];
    taken.clear();
    for (const size_t j : placed) {
      const Request& other = requests_[j];
      const bool together = other.born < r.died + reuse_after_ && r.born < other.died + reuse_after_;
      const bool apart = !together && (other.died <= r.born ? may_share(other, r) : may_share(r, other));
      if (!apart) taken.emplace_back(other.offset, other.offset + aligned(other.bytes));
    }
    std::sort(taken.begin(), taken.end());
    size_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (begin >= offset + aligned(r.bytes)) break;
      offset = std::max(offset, end);
    }
    r.offset = offset;
    block_bytes_ = std::max(block_bytes_, offset + aligned(r.bytes));
    placed.push_back(i);
  }
  if (auto* cache = dynamic_cast<CachingAllocator*>(parent_.get())) cache->release_cache();
  block_bytes_ = std::max(block_bytes_, alignment());
  block_->reserve(block_bytes_);
  planned_ = true;
}

}  // namespace hr
