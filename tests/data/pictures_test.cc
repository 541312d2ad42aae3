// The source of pixels changes nothing: folder, zip, cache, people grouped or alone. The second half tests how bad
// pictures are handled.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "core/io/zip.h"
#include "data/loader.h"
#include "tests/data/jpeg.h"
#include "tests/data/made_set.h"
#include "tests/support/crops.h"

namespace hr {
namespace {

using test::contains;
using test::error_of;
using test::MadeSet;

// ---- what crops can show --------------------------------------------------------------------------------------------

// Boxes of detectors and of packs may be so large that their edges are infinite or NaN.
TEST(Reach, StaysInThePictureWhateverTheBox) {
  const AugmentOptions turned{.scale = 0.5, .rotation = 30};
  for (const double huge : {1e30, 1e39, 1e308, -1e308}) {
    for (const Box& box : {Box{huge, huge, 10, 10}, Box{0, 0, std::abs(huge), 10}, Box{huge, 5, std::abs(huge), 10},
                           Box{huge, huge, std::abs(huge), std::abs(huge)}}) {
      for (const AugmentOptions* o : {&turned, static_cast<const AugmentOptions*>(nullptr)}) {
        const Region official = reach_official(center_scale(box, 0.75), {}, coco_skeleton(), o, 64, 60, 48, 64),
                     seed = reach_seed(box, {}, coco_skeleton(), o, 64, 60, 48, 64);
        EXPECT_TRUE((Region{0, 0, 64, 60}.contains(official))) << huge << ": " << official.x << ' ' << official.w;
        EXPECT_TRUE((Region{0, 0, 64, 60}.contains(seed))) << huge << ": " << seed.x << ' ' << seed.w;
      }
    }
  }
}

TEST(Reach, ContainsEveryCropAndIsNotMuchLarger) {
  Philox random(5, 5, 5);
  for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
    for (const Encoding encoding : {Encoding::quarter, Encoding::udp}) {
      if (recipe == Recipe::seed && encoding == Encoding::udp) continue;
      double reached = 0, seen = 0;
      for (int round = 0; round < 30; ++round) {
        const int picture_w = 400 + static_cast<int>(random.below(400)),
                  picture_h = 300 + static_cast<int>(random.below(400));
        const bool augment = round % 5 != 0;
        const AugmentOptions options{
            .scale = random.uniform(0, 0.6), .rotation = random.uniform(0, 60), .half_body = 0.5};
        const Box box{random.uniform(-30, 350), random.uniform(-30, 250), random.uniform(3, 200),
                      random.uniform(3, 250)};
        std::vector<double> joints;
        for (int k = 0; k < 17; ++k) {
          joints.insert(joints.end(), {box.x + random.uniform() * box.w, box.y + random.uniform() * box.h,
                                       static_cast<double>(random.below(6) != 0)});
        }
        const int w = 48, h = round % 2 == 0 ? 64 : 48;
        const CenterScale place = center_scale(box, static_cast<double>(w) / h);
        const AugmentOptions* o = augment ? &options : nullptr;
        const Region reach = recipe == Recipe::official
                                 ? reach_official(place, joints, coco_skeleton(), o, picture_w, picture_h, w, h)
                                 : reach_seed(box, joints, coco_skeleton(), o, picture_w, picture_h, w, h);
        Region all;
        for (int draw = 0; draw < (augment ? 400 : 1); ++draw) {
          Augmentation a;
          if (augment) {
            Philox stream(1, static_cast<uint64_t>(round), static_cast<uint64_t>(draw));
            a = draw_augmentation(recipe, stream, options, 17);
            if (draw % 4 == 0) a.scale = 1 + options.scale;  // the largest crops, at any angle
          } else if (recipe == Recipe::seed) {
            a.scale = 1.25;
          }
          const Placement p = recipe == Recipe::official
                                  ? place_official(place, joints, coco_skeleton(), a, picture_w, w, h, encoding)
                                  : place_seed(box, joints, coco_skeleton(), a, w, h);
          const Region crop = warp_region(p.image_to_crop, w, h, picture_w, picture_h, p.mirror_source);
          ASSERT_TRUE(reach.contains(crop)) << "round " << round << ", draw " << draw;
          all = united(all, crop);
        }
        reached += static_cast<double>(reach.area());
        seen += static_cast<double>(all.area());
      }
      EXPECT_LT(reached, 1.25 * seen) << "the margin is not for nothing";
    }
  }
}

// ---- people of one picture ------------------------------------------------------------------------------------------

std::vector<Sample> together(const PoseDataset& data, const std::vector<size_t>& indices, uint64_t epoch,
                             SampleClock* clock = nullptr) {
  std::vector<Sample> out(indices.size());
  std::vector<SampleTarget> targets;
  std::vector<SampleMeta> metas(indices.size());
  const size_t pixels = static_cast<size_t>(data.options().input_h) * data.options().input_w;
  const auto joints = static_cast<size_t>(data.skeleton().joints());
  for (Sample& sample : out) {
    sample.image.resize(pixels * 3);
    sample.target.resize(pixels / 16 * joints);
    sample.weight.resize(joints);
    targets.push_back({.image = sample.image, .heatmap = sample.target, .weight = sample.weight});
  }
  SampleWorkspace workspace;
  data.samples_into(indices, epoch, targets, metas, workspace);
  for (size_t i = 0; i < out.size(); ++i) out[i].meta = metas[i];
  if (clock != nullptr) *clock = workspace.clock;
  return out;
}

TEST(Grouping, SharesTheDecodingAndChangesNothing) {
  MadeSet made(6);
  made.options.augment = true;
  for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
    for (const size_t cache : {size_t{0}, size_t{1} << 30}) {
      made.options.recipe = recipe;
      made.options.cache_bytes = 0;
      const PoseDataset alone = made.dataset();
      made.options.cache_bytes = cache;
      const PoseDataset data = made.dataset();
      const std::vector<size_t> indices = {3, 9, 4, 10, 17, 5, 3};
      SampleClock clock;
      const auto got = together(data, indices, 7, &clock);
      EXPECT_EQ(clock.samples, 7u);
      EXPECT_LE(clock.decoded, 5u) << "three pictures";
      for (size_t i = 0; i < indices.size(); ++i) {
        const Sample want = alone.sample(indices[i], 7);
        EXPECT_EQ(got[i].image, want.image);
        EXPECT_EQ(got[i].target, want.target);
        EXPECT_EQ(got[i].meta.index, indices[i]);
      }
      together(data, indices, 8, &clock);
      EXPECT_EQ(clock.cached, cache > 0 ? 7u : 0u);
      EXPECT_EQ(clock.decoded > 0, cache == 0);
    }
  }
}

// ---- batches --------------------------------------------------------------------------------------------------------

// An allocator that counts its blocks.
class CountingAllocator final : public Allocator {
 public:
  void* allocate(size_t bytes) override {
    ++allocations;
    live += bytes;
    peak = std::max(peak, live);
    return ::operator new (bytes, std::align_val_t{64});
  }
  void deallocate(void* pointer, size_t bytes) noexcept override {
    live -= bytes;
    ::operator delete (pointer, std::align_val_t{64});
  }
  size_t peak_bytes() const override { return peak; }
  size_t allocations = 0, live = 0, peak = 0;
};

TEST(Batches, LiveInTheMemoryOfAnAllocatorAndInABoundedAmountOfIt) {
  MadeSet made(20);
  const PoseDataset data = made.dataset();
  const auto memory = std::make_shared<CountingAllocator>();
  {
    Loader loader(data, {.batch_size = 4, .workers = 3, .prefetch = 2, .allocator = memory});
    Batch batch;
    for (uint64_t epoch = 0; epoch < 3; ++epoch) {
      loader.start_epoch(epoch);
      while (loader.next(batch)) EXPECT_EQ(reinterpret_cast<uintptr_t>(batch.images.data()) % 64, 0u);
    }
    // Two batches are in work or ready, one is with the caller, and one is on its way back.
    const size_t one = 4 * (64 * 48 * 3 + 16 * 12 * 17 + 17) * sizeof(float);
    EXPECT_LE(memory->peak, 4 * one);
    EXPECT_LE(memory->allocations, 4u * 3);
  }
  EXPECT_EQ(memory->live, 0u);
}

TEST(Batches, WhatADeviceGetsDoesNotDependOnTheWorkers) {
  MadeSet made(4);
  made.options.augment = true;
  made.options.augmentation.photometric = 0.3;  // some crops are made here, and some are left to the device
  for (const bool bgr : {false, true}) {
    made.options.bgr = bgr;
    const PoseDataset data = made.dataset();
    const auto plain = test::batches_of(data, false, 5), alone = test::batches_of(data, true, 5, 0);
    int left = 0, here = 0;
    for (const int workers : {1, 3}) {
      const auto batches = test::batches_of(data, true, 5, workers);
      ASSERT_EQ(batches.size(), alone.size());
      for (size_t b = 0; b < batches.size(); ++b) {
        Batch one = alone[b], other = batches[b];
        EXPECT_TRUE(one.images.empty() && one.targets.empty() && plain[b].sources.empty() && plain[b].profiles.empty());
        EXPECT_EQ(one.profiles, other.profiles);
        EXPECT_EQ(one.weights, other.weights);
        EXPECT_EQ(one.weights, plain[b].weights);
        for (int n = 0; n < one.size; ++n) {
          const size_t slot = CropSource::slot_bytes(48, 64);
          const auto bytes = test::meaning(one.sources.part(n, slot), 48, 64);
          EXPECT_EQ(bytes, test::meaning(other.sources.part(n, slot), 48, 64));
          const CropSource head = test::head_of(bytes);
          EXPECT_EQ(head.bgr, bgr);
          EXPECT_EQ(one.meta[n].index, plain[b].meta[n].index);
          const bool recoloured = data.placed(one.meta[n].index, 1).augmentation.recolours();
          recoloured ? ++here : ++left;
          if (!recoloured) continue;
          // The crop itself, as the host makes images.
          std::vector<float> image(64 * 48 * 3);
          normalize_row(bytes.data() + CropSource::pixels_at(48, 64), 64 * 48, image.data(), bgr);
          EXPECT_TRUE(std::equal(image.begin(), image.end(), plain[b].images.begin() + n * image.size()));
        }
      }
    }
    EXPECT_GT(left, 2);
    EXPECT_GT(here, 2);
  }
  const PoseDataset data = made.dataset();
  EXPECT_TRUE(contains(error_of([&] { Loader(data, {.images = false}); }), "expected images or sources"));
}

// ---- zip ------------------------------------------------------------------------------------------------------------

// One deflated member, written by hand, because ZipWriter only stores.
std::string deflated_zip(const std::string& name, const std::string& bytes);
std::string little(uint64_t value, int bytes);
uint32_t crc(const std::string& text);

TEST(Zip, PicturesInAZipAreThePicturesInAFolder) {
  MadeSet made(4);
  made.options.augment = true;
  const auto folder = test::temporary_folder();
  for (const std::string prefix : {"", "train2017/"}) {
    AtomicFile file(folder / "train2017.zip");
    ZipWriter zip(file);
    for (const CocoImage& image : made.file.images) {
      const std::string bytes = read_file(made.folder / image.file_name);
      zip.add(prefix + image.file_name, std::as_bytes(std::span(bytes)));
    }
    zip.finish();
    file.commit();
    const PoseDataset plain = made.dataset();
    PoseDataset zipped =
        PoseDataset::from_annotations(made.file, folder / "train2017.zip", coco_skeleton(), made.options);
    zipped.check_files();
    zipped.check_pictures(2);
    EXPECT_EQ(zipped.bad().size(), 0u);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(zipped.sample(i, 3).image, plain.sample(i, 3).image);
  }
  made.file.images[2].file_name = "other.jpg";
  const PoseDataset other =
      PoseDataset::from_annotations(made.file, folder / "train2017.zip", coco_skeleton(), made.options);
  const std::string why = error_of([&] { other.sample(6, 0); });
  EXPECT_TRUE(contains(why, "train2017.zip/other.jpg: no such picture in the zip file (4 members")) << why;
  write_file(folder / "no.zip", "PK nonsense");
  EXPECT_TRUE(contains(error_of([&] { open_pictures(folder / "no.zip"); }), "no.zip"));
  EXPECT_TRUE(contains(error_of([&] { open_pictures(folder / "missing.zip"); }), "missing.zip"));
}

TEST(Zip, DeflatedMembersAndDamage) {
  const auto folder = test::temporary_folder();
  write_image(folder / "a.png", test::made_picture(9, 6));
  const std::string png = read_file(folder / "a.png");
  const std::string zip = deflated_zip("a.png", png);
  write_file(folder / "d.zip", zip);
  std::vector<std::byte> scratch;
  const auto bytes = open_pictures(folder / "d.zip")->read("a.png", scratch);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), png);
  size_t refused = 0;
  for (size_t at = 0; at < zip.size(); ++at) {  // damage anywhere gives the same bytes or an error
    std::string damaged = zip;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    std::ofstream(folder / "e.zip", std::ios::binary)
        << damaged;  // not write_file, because syncing a thousand times takes long
    const std::string why = error_of([&] {
      std::vector<std::byte> memory;
      const auto got = open_pictures(folder / "e.zip")->read("a.png", memory);
      EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(got.data()), got.size()), png);
    });
    if (!why.empty()) {
      EXPECT_TRUE(contains(why, "e.zip")) << why;
      ++refused;
    }
  }
  EXPECT_GT(refused, zip.size() * 9 / 10);
}

// The size that a member claims is not trusted where it would cost memory: a few bytes cannot unpack to 2^30.
TEST(Zip, AMemberThatClaimsMoreThanItsBytesCanUnpackToTakesNoMemory) {
  const auto folder = test::temporary_folder();
  const std::string text(3000, 'a');
  std::string zip = deflated_zip("a.png", text);
  std::vector<std::byte> scratch;
  write_file(folder / "d.zip", zip);
  EXPECT_EQ(open_pictures(folder / "d.zip")->read("a.png", scratch).size(), text.size());  // it is accepted
  size_t claims = 0;
  for (size_t at = zip.find(little(3000, 4)); at != std::string::npos; at = zip.find(little(3000, 4), at)) {
    zip.replace(at, 4, little(uint64_t{1} << 30, 4));
    ++claims;
  }
  ASSERT_EQ(claims, 2u);  // in the member's header and in the directory
  write_file(folder / "e.zip", zip);
  scratch = {};
  const std::string why = error_of([&] { open_pictures(folder / "e.zip")->read("a.png", scratch); });
  EXPECT_TRUE(contains(why, "e.zip/a.png: damaged in the zip file: ")) << why;
  EXPECT_LT(scratch.size(), size_t{1} << 20);
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// COCO's train2017.zip has 19 GB. Beyond 4 GiB the directory keeps a member's offset in a zip64 field, here after a
// field of another kind, as Info-ZIP writes them. The hole between the members takes no space on the disk.
TEST(Zip, MembersBeyondFourGibAreRead) {
  const auto folder = test::temporary_folder();
  const std::string first = "the first picture", last = "the last picture, beyond 4 GiB";
  const uint64_t far = (uint64_t{1} << 32) + 12345;
  const auto common = [](const std::string& name, const std::string& bytes, size_t extra) {
    return little(20, 2) + little(0, 2) + little(0, 2) + little(0, 4) + little(crc(bytes), 4) +
           little(bytes.size(), 4) + little(bytes.size(), 4) + little(name.size(), 2) + little(extra, 2);
  };
  const auto entry = [&](const std::string& name, const std::string& bytes, uint64_t offset, const std::string& extra) {
    return "PK\1\2" + little(45, 2) + common(name, bytes, extra.size()) + little(0, 2 + 2 + 2 + 4) + little(offset, 4) +
           name + extra;
  };
  const std::string time = "UT" + little(5, 2) + std::string(5, '\7');
  const std::string directory = entry("a.jpg", first, 0, time) +
                                entry("b.jpg", last, UINT32_MAX, time + little(1, 2) + little(8, 2) + little(far, 8));
  const std::string begin = "PK\3\4" + common("a.jpg", first, 0) + "a.jpg" + first;
  const std::string tail = "PK\3\4" + common("b.jpg", last, 0) + "b.jpg" + last;
  const uint64_t at = far + tail.size(), end = at + directory.size();
  const std::string end64 = "PK\6\6" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 4) + little(0, 4) +
                            little(2, 8) + little(2, 8) + little(directory.size(), 8) + little(at, 8);
  const std::string locator = "PK\6\7" + little(0, 4) + little(end, 8) + little(1, 4);
  const std::string end32 = "PK\5\6" + little(0, 4) + little(2, 2) + little(2, 2) + little(directory.size(), 4) +
                            little(UINT32_MAX, 4) + little(0, 2);
  {
    std::ofstream file(folder / "train2017.zip", std::ios::binary);
    file << begin;
    file.seekp(static_cast<std::streamoff>(far));
    file << tail << directory << end64 << locator << end32;
    ASSERT_TRUE(file.flush());
  }
  const auto pictures = open_pictures(folder / "train2017.zip");
  std::vector<std::byte> scratch;
  EXPECT_EQ(text_of(pictures->read("a.jpg", scratch)), first);
  EXPECT_EQ(text_of(pictures->read("b.jpg", scratch)), last);
}

TEST(Zip, Zip64OfAnotherWriterIsRead) {
  const fs::path cases = test::source_folder() / ".." / "shared" / "cases";
  if (!fs::exists(cases)) GTEST_SKIP() << "no such folder: " << cases.string();
  const auto zipped = open_pictures(cases / "zip" / "small64.zip"), plain = open_pictures(cases / "truth" / "img");
  std::vector<std::byte> one, other;
  for (const char* name : {"p1.jpg", "p2.jpg", "p3.jpg"}) {
    EXPECT_EQ(text_of(zipped->read(name, one)), text_of(plain->read(name, other))) << name;
  }
}

// ---- names ----------------------------------------------------------------------------------------------------------

TEST(Names, AreFoundAsPeopleWriteThem) {
  const auto folder = test::temporary_folder() / "img";
  fs::create_directories(folder / "sub");
  const std::string composed = "caf\xc3\xa9 \xc5\x81\xd0\xb9 \xea\xb0\x81.jpg";
  const std::string decomposed = "cafe\xcc\x81 \xc5\x81\xd0\xb8\xcc\x86 \xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8.jpg";
  write_file(folder / "P1.JPG", "one");
  write_file(folder / "sub" / "shot 1 (\xc3\xa4).jpg", "two");
  write_file(folder / composed, "three");
  write_file(folder / "50%.jpg", "four");
  write_file(folder / "a%20b.jpg", "five");
  write_file(folder / "twins.jpg", "six");
  write_file(folder / "TWINS.jpg", "seven");
  const std::map<std::string, std::string> names = {{"P1.JPG", "one"},
                                                    {"p1.jpg", "one"},
                                                    {"img/P1.JPG", "one"},
                                                    {"img\\p1.jpg", "one"},
                                                    {"./img/P1.JPG", "one"},
                                                    {"sub\\shot 1 (\xc3\xa4).jpg", "two"},
                                                    {"sub/shot%201%20%28%C3%A4%29.jpg", "two"},
                                                    {"sub%5Cshot%201%20(%c3%a4).jpg", "two"},
                                                    {"Sub/Shot 1 (A\xcc\x88).JPG", "two"},
                                                    {composed, "three"},
                                                    {decomposed, "three"},
                                                    {"50%.jpg", "four"},
                                                    {"50%25.jpg", "four"},
                                                    {"a%20b.jpg", "five"},
                                                    {"a b.jpg", "five"},
                                                    {"twins.jpg", "six"}};
  // The same files are in a zip file, at the top or in a folder of its name.
  for (const std::string prefix : {"", "img/"}) {
    AtomicFile file(folder.parent_path() / (prefix.empty() ? "img.zip" : "img2.zip"));
    ZipWriter zip(file);
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      const std::string bytes = read_file(entry.path());
      const std::string name = entry.path().lexically_relative(folder).string();
      zip.add((prefix.empty() ? "" : "img2/") + name, std::as_bytes(std::span(bytes)));
    }
    zip.finish();
    file.commit();
  }
  for (const char* source : {"img", "img.zip", "img2.zip"}) {
    const auto pictures = open_pictures(folder.parent_path() / source);
    const auto again = open_pictures(folder.parent_path() / source);
    for (const auto& [written, want] : names) {
      std::string name = written;
      if (const size_t own = name.find("img"); own < 3 && source == std::string("img2.zip")) name.insert(own + 3, "2");
      std::vector<std::byte> scratch;
      EXPECT_EQ(error_of([&] { EXPECT_EQ(text_of(pictures->read(name, scratch)), want); }), "") << source;
      std::string seen;
      EXPECT_EQ(error_of([&] { again->glance(name, [&](auto bytes) { seen = text_of(bytes); }); }), "") << source;
      EXPECT_EQ(seen, want) << name;
      pictures->read(name, scratch);  // it is counted once
    }
    std::vector<std::byte> scratch;
    const std::string why = error_of([&] { pictures->read("Twins.jpg", scratch); });
    EXPECT_TRUE(contains(why, "TWINS.jpg") && contains(why, "twins.jpg") && contains(why, "either may be meant"))
        << why;
    const auto remarks = pictures->remarks();
    EXPECT_EQ(again->remarks(), remarks);
    std::string all;
    for (const std::string& remark : remarks) all += remark + "\n";
    EXPECT_TRUE(contains(all, "1 picture was found with \"/\" for \"\\\": \"sub\\shot 1 (\xc3\xa4).jpg\" is \""))
        << all;
    EXPECT_TRUE(contains(all, "3 pictures were found with %XX decoded: ")) << all;
    EXPECT_TRUE(contains(all, "pictures were found with upper and lower case")) << all;
  }
  EXPECT_TRUE(contains(open_pictures(folder)->place("p1.jpg"), "p1.jpg"));
}

TEST(Names, WhatIsNotFoundIsNamedWithTheLikelyCause) {
  const auto folder = test::temporary_folder() / "img";
  fs::create_directories(folder / "sub");
  fs::create_directories(folder / "none");
  write_file(folder / "p1.png", "one");
  write_file(folder / "sub" / "p2.jpg", "two");
  const auto why = [&](const std::string& name, const fs::path& where) {
    return error_of([&] {
      std::vector<std::byte> scratch;
      open_pictures(where)->read(name, scratch);
    });
  };
  const auto expect = [&](const std::string& message, const std::string& tried, const std::string& cause) {
    EXPECT_TRUE(contains(message, tried + ": no such picture") && contains(message, cause)) << message;
  };
  const std::string at = folder.string();
  expect(why("p1.jpg", folder), at + "/p1.jpg", "there is \"p1.png\", which has another extension");
  expect(why("p2.jpg", folder), at + "/p2.jpg", "the folder sub within");
  expect(why("p3.jpg", folder), at + "/p3.jpg", "among the 3 entries of");
  expect(why("p3.jpg", folder / "none"), at + "/none/p3.jpg", "is empty");
  expect(why("p3.jpg", folder / "gone"), at + "/gone/p3.jpg", "there is no folder " + at + "/gone");
  expect(why("val/p1.png", folder), at + "/val/p1.png", "has folders, a plain \"p1.png\" is not looked for, though");
  expect(why("/home/anna/p1.png", folder), "/home/anna/p1.png", "an absolute path");
  expect(why("C:\\data\\p1.png", folder), at + "/C:\\data\\p1.png", "an absolute path");
  expect(why("C:\\data\\p1.png", folder), "", "where a plain \"p1.png\" is");
  expect(why("http://images.cocodataset.org/p1.png", folder), "", "a web address");
}

TEST(Names, OtherPeoplesNames) {
  const fs::path cases = test::source_folder() / ".." / "shared" / "cases" / "names";
  if (!fs::exists(cases)) GTEST_SKIP() << "no such folder: " << cases.string();
  for (const std::string name : {"backslash_sub", "case", "urlenc"}) {
    PoseDataset data = PoseDataset::from_annotations(read_coco(cases / (name + ".json"), 17), cases / ("img_" + name),
                                                     coco_skeleton(), {.input_h = 64, .input_w = 48});
    data.check_pictures(1);
    EXPECT_EQ(data.bad().size(), 0u) << name;
    EXPECT_EQ(data.pictures().remarks().size(), 1u) << name;
    data.sample(0, 0);
  }
}

// ---- EXIF -----------------------------------------------------------------------------------------------------------

TEST(Exif, TheSeedTurnsPicturesTheOfficialRecipeDoesNot) {
  MadeSet made(1);
  const std::string upright = read_file(made.folder / "p0.jpg");
  const PoseDataset official = made.dataset();
  const Sample before = official.sample(0, 0);
  write_file(made.folder / "p0.jpg", test::with_orientation(upright, 3, true));  // upside down
  EXPECT_EQ(made.dataset().sample(0, 0).image, before.image);
  made.options.recipe = Recipe::seed;
  const PoseDataset seed = made.dataset();
  const Image turned = read_image(made.folder / "p0.jpg", Orientation::apply);
  EXPECT_EQ(seed.crop(0, 0).rgb, crop_image(turned, seed.placed(0, 0).placement, 48, 64).rgb);
  EXPECT_NE(seed.crop(0, 0).rgb,
            crop_image(read_image(made.folder / "p0.jpg"), seed.placed(0, 0).placement, 48, 64).rgb);
  // Turned on its side, the picture does not have the size that the annotation says.
  write_file(made.folder / "p0.jpg", test::with_orientation(upright, 6, false));
  const std::string why = error_of([&] { made.dataset().sample(0, 0); });
  EXPECT_TRUE(contains(why, "70 x 90 pixels as it is shown, its entry in made.json says 90 x 70")) << why;
  EXPECT_TRUE(contains(why, "EXIF (orientation 6)") && contains(why, "the official recipe reads")) << why;
}

TEST(Exif, IsNamedAsTheCauseOfSwappedSizesAndOfJointsBeyondThePicture) {
  MadeSet made(2);
  write_file(made.folder / "p0.jpg", test::with_orientation(read_file(made.folder / "p0.jpg"), 8, false));
  std::swap(made.file.images[0].width, made.file.images[0].height);  // as it is shown: 70 x 90
  PoseDataset official = made.dataset();
  official.check_pictures(1);
  ASSERT_EQ(official.bad().size(), 1u);
  const std::string why = official.bad().entries()[0].message;
  EXPECT_TRUE(contains(why, "EXIF (orientation 8)") && contains(why, "the seed recipe reads")) << why;
  EXPECT_TRUE(contains(official.bad().causes(), "1 turned by EXIF")) << official.bad().causes();
  made.options.recipe = Recipe::seed;
  made.file.annotations[1].keypoints[0] = 85;  // within the stored 90 x 70 pixels only
  made.file.annotations[1].keypoints[2] = 2;
  for (auto& a : made.file.annotations) {
    for (size_t k = 0; k < a.keypoints.size(); k += 3) {
      if (&a != &made.file.annotations[1] || k > 0) a.keypoints[k] = std::min(a.keypoints[k], 60.0);
    }
  }
  PoseDataset seed = made.dataset();
  seed.check_pictures(1);
  EXPECT_EQ(seed.bad().size(), 0u);
  ASSERT_EQ(seed.remarks().size(), 1u);
  EXPECT_TRUE(contains(seed.remarks()[0], "a joint of annotation 2 is at 85, ")) << seed.remarks()[0];
  EXPECT_TRUE(contains(seed.remarks()[0], "beyond the picture's 70 x 90 pixels; EXIF (orientation 8)"));
}

TEST(Exif, OtherPeoplesTurnedPictures) {
  const fs::path cases = test::source_folder() / ".." / "shared" / "cases" / "pictures" / "turned";
  if (!fs::exists(cases)) GTEST_SKIP() << "no such folder: " << cases.string();
  for (const std::string name : {"shown.json", "stored.json"}) {
    for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
      PoseDataset data = PoseDataset::from_annotations(read_coco(cases / name, 17), cases, coco_skeleton(),
                                                       {.recipe = recipe, .input_h = 64, .input_w = 48});
      data.check_pictures(1);
      const bool fits = (name == "stored.json") == (recipe == Recipe::official);
      EXPECT_EQ(data.bad().size(), fits ? 0u : 2u);
      for (const auto& entry : data.bad().entries()) {
        EXPECT_TRUE(contains(entry.message, "EXIF (orientation 6)")) << entry.message;
      }
      EXPECT_EQ(data.remarks().size(), name == "shown.json" && fits ? 1u : 0u);  // joints at 133 of 120 pixels
    }
  }
}

// ---- bad pictures and boxes -----------------------------------------------------------------------------------------

// A dataset with every kind of trouble. `good` lists the pictures that can still be used.
struct TroubledSet : MadeSet {
  std::set<int> good{0, 8, 9, 10};
  TroubledSet() : MadeSet(13) {
    const auto bytes = [&](int i) { return read_file(folder / file.images[i].file_name); };
    const auto write = [&](int i, const std::string& text) { write_file(folder / file.images[i].file_name, text); };
    fs::remove(folder / "p1.jpg");                               // missing
    write(2, bytes(2).substr(0, bytes(2).size() * 2 / 3));       // truncated
    write(3, "");                                                // zero bytes
    write(4, "<html>404 not found</html>");                      // not a picture
    write_image(folder / "p5.jpg", test::made_picture(95, 71));  // another size than annotated
    std::string bomb = bytes(6);
    const size_t frame = bomb.find("\xff\xc0");
    std::memcpy(bomb.data() + frame + 5, "\xff\xdc\xff\xdc", 4);
    write(6, bomb);  // 65500 x 65500
    std::string bits = bytes(7);
    bits[bits.find("\xff\xc0") + 4] = 12;  // 12 bits a sample, which this libjpeg does not read
    write(7, bits);
    write(8, test::made_jpeg(test::made_picture(98, 70), {.h = 1, .v = 1, .space = JCS_GRAYSCALE}));
    write(9, test::made_jpeg(test::made_picture(99, 70), {.space = JCS_CMYK}));
    write(10, png_16(100, 70));
    fs::remove(folder / "p11.jpg");
    fs::create_directory(folder / "p11.jpg");
    const std::string png = png_16(102, 70);
    write(12, png.substr(0, png.size() / 2));  // truncated, of another format
  }
  // A PNG with 16 bits a sample, stored blocks, grey; pixel (x, y) has 256 x + y.
  static std::string png_16(int w, int h);
};

TEST(Bad, AQuickCheckNamesEveryBadPictureOnce) {
  const TroubledSet made;
  PoseDataset data = made.dataset();
  size_t last = 0;
  data.check_pictures(2, [&](size_t done, size_t all) {
    EXPECT_EQ(all, 13u);
    EXPECT_EQ(done, ++last);
  });
  data.check_pictures(1);  // the second check names nothing twice
  const auto bad = data.bad().entries();
  ASSERT_EQ(bad.size(), 9u);
  const std::map<int64_t, std::string> parts = {{101, "p1.jpg: no such picture"},
                                                {102, "p2.jpg: truncated"},
                                                {103, "p3.jpg: empty file"},
                                                {104, "p4.jpg: not a picture"},
                                                {105, "p5.jpg: the picture has 95 x 71 pixels"},
                                                {106, "p6.jpg: 65500 x 65500 pixels, more than the limit"},
                                                {107, "p7.jpg: not a readable JPEG"},
                                                {111, "p11.jpg: not a file"},
                                                {112, "p12.jpg: truncated"}};
  for (const auto& entry : bad) {
    EXPECT_EQ(entry.people, 3u);
    EXPECT_TRUE(parts.count(entry.id) == 1 && contains(entry.message, parts.at(entry.id))) << entry.message;
  }
  EXPECT_EQ(data.bad().summary(), "9 pictures (with 27 people)");
  // Without them the others can be used.
  PoseDataset rest = made.dataset();
  rest.check_pictures();
  rest.drop_bad();
  ASSERT_EQ(rest.size(), 12u);
  EXPECT_TRUE(contains(rest.counts().summary(), "39 annotations: 12 kept, 27 whose picture is bad"));
  for (size_t i = 0; i < rest.size(); ++i) {
    EXPECT_TRUE(made.good.count(static_cast<int>(rest.sample(i, 0).meta.image_id - 100)));
  }
  // Greyscale, CMYK and 16-bit pictures are accepted. Of 16 bits the upper byte counts.
  const Image deep = read_image(made.folder / "p10.jpg");
  EXPECT_EQ(deep.at(37, 5)[0], 37);
}

TEST(Bad, DamagedDataAreARemarkOrMakeABadPicture) {
  MadeSet made(3);
  const auto damage = [&](const char* name) {
    std::string jpeg = read_file(made.folder / name);
    const size_t at = jpeg.rfind("\xff\xda") + 14 + 40;
    jpeg.replace(at, 2, "\xff\xd7");  // a marker within the data
    write_file(made.folder / name, jpeg);
  };
  damage("p0.jpg");
  damage("p2.jpg");
  PoseDataset lenient = made.dataset();
  lenient.check_pictures(1);
  EXPECT_EQ(lenient.bad().size(), 0u);
  lenient.sample(0, 0);
  lenient.sample(1, 0);
  lenient.sample(7, 0);
  ASSERT_EQ(lenient.remarks().size(), 1u);
  const std::string remark = lenient.remarks()[0];
  EXPECT_TRUE(contains(remark, "p0.jpg: Corrupt JPEG data: ")) << remark;
  EXPECT_TRUE(contains(remark, "(one of 2 pictures with damaged data)")) << remark;
  made.options.refuse_damaged = true;
  EXPECT_TRUE(contains(error_of([&] { made.dataset().sample(0, 0); }), "p0.jpg: Corrupt JPEG data: "));
  PoseDataset strict = made.dataset();
  strict.check_pictures(2);
  ASSERT_EQ(strict.bad().size(), 2u);
  EXPECT_TRUE(contains(strict.bad().entries()[0].message, "p0.jpg: Corrupt JPEG data: "));
  EXPECT_EQ(strict.bad().causes(), "2 cut off or damaged");
  EXPECT_TRUE(strict.remarks().empty());
  strict.drop_bad();
  EXPECT_EQ(strict.size(), 3u);
}

TEST(Bad, WhenAllPicturesAreBadTheCausesAreCountedAndTheFirstIsNamed) {
  TroubledSet made;
  for (const int i : made.good) fs::remove(made.folder / fmt::format("p{}.jpg", i));
  PoseDataset data = made.dataset();
  data.check_pictures(2);
  const std::string why = error_of([&] { data.drop_bad(); });
  EXPECT_TRUE(contains(why, "made.json: every picture is bad: 13 pictures (with 39 people)")) << why;
  EXPECT_TRUE(contains(why, "7 not there, 3 not readable as pictures, 2 cut off or damaged, 1 of another size")) << why;
  EXPECT_TRUE(contains(why, "; the first: ") && contains(why, "p0.jpg: no such picture")) << why;
}

TEST(Bad, SubstitutesTakeThePlaceAndTheBatchesAreTheSameForAnyWorkers) {
  TroubledSet made;
  made.options.augment = true;
  EXPECT_THROW(made.dataset().sample(4, 0), Error);
  made.options.substitute_bad = true;
  const PoseDataset data = made.dataset();
  const Sample sample = data.sample(4, 6);
  EXPECT_TRUE(sample.meta.substitute);
  EXPECT_EQ(sample.meta.index, 24u) << "the next person whose picture is good: the first of picture 8";
  EXPECT_EQ(sample.image, data.sample(24, 6).image);
  EXPECT_FALSE(data.sample(24, 6).meta.substitute);
  EXPECT_EQ(data.bad().size(), 7u) << "pictures 1 to 7 were tried";
  EXPECT_EQ(data.sample(38, 0).meta.index, 0u) << "from the last one on to the first";
  std::vector<Batch> want;
  for (const int workers : {0, 1, 4}) {
    const PoseDataset fresh = made.dataset();
    Loader loader(fresh, {.batch_size = 8, .workers = workers, .shuffle = true, .seed = 2});
    loader.start_epoch(1);
    Batch batch;
    for (size_t i = 0; loader.next(batch); ++i) {
      if (workers == 0) {
        want.push_back(batch);
        continue;
      }
      EXPECT_EQ(batch.images, want[i].images);
      EXPECT_EQ(batch.targets, want[i].targets);
      for (int n = 0; n < batch.size; ++n) {
        EXPECT_EQ(batch.meta[n].index, want[i].meta[n].index);
        EXPECT_EQ(batch.meta[n].substitute, want[i].meta[n].substitute);
      }
    }
    EXPECT_EQ(fresh.bad().size(), 9u);
  }
  TroubledSet all;
  all.options.substitute_bad = true;
  for (const int i : {0, 8, 9, 10}) fs::remove(all.folder / fmt::format("p{}.jpg", i));
  EXPECT_TRUE(contains(error_of([&] { all.dataset().sample(0, 0); }), "every picture is bad: 13 pictures"));
}

TEST(Bad, BoxesThatCannotBeUsedAreNamed) {
  MadeSet made(3);
  auto& people = made.file.annotations;
  const double nan = std::nan("");
  people[0].box.x = nan;
  people[1].box.w = 0;
  people[1].box.h = 0;
  people[2].box = {20, 20, -5, -9};
  people[3].box = {500, 20, 30, 30};
  people[4].area = 0;
  people[5].box.w = std::numeric_limits<double>::infinity();
  people[6].box = {20, 20, -5, -9};
  std::fill(people[6].keypoints.begin(), people[6].keypoints.end(), 0.0);  // leaving out this one has no effect
  const PoseDataset data = made.dataset();
  EXPECT_EQ(data.counts().summary(),
            "9 annotations: 2 kept, 1 without labelled joints, 1 with an area of 0, 2 with an empty box, 1 with a box "
            "outside of the picture, 2 with a box that cannot be used");
  EXPECT_EQ(data.size(), 2u);
  const auto bad = data.bad().entries();
  ASSERT_EQ(bad.size(), 6u);
  const char* parts[] = {"a box that is not a number", "an empty box", "an empty box",
                         "outside of the picture",     "an area of 0", "a box that is not a number"};
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(bad[i].id, people[i].id);
    EXPECT_TRUE(contains(bad[i].message, parts[i])) << bad[i].message;
  }
  made.options.recipe = Recipe::seed;
  EXPECT_EQ(made.dataset().bad().size(), 4u) << "the seed looks neither at the area nor at the picture";
  made.options.recipe = Recipe::official;
  for (auto& a : people) a.area = 0;
  people.resize(5);
  people[3].box = people[1].box = {20, 20, 60, 0};  // flat
  people.erase(people.begin());
  const std::string why = error_of([&] { made.dataset(); });
  EXPECT_TRUE(contains(why, "4 annotations: 0 kept, 1 with an area of 0, 3 with an empty box; \"area\" is")) << why;
}

TEST(Bad, OtherCategoriesOnlyWhereAskedFor) {
  MadeSet made(2);
  for (size_t i = 0; i < made.file.annotations.size(); ++i)
    made.file.annotations[i].category_id = 1 + static_cast<int>(i % 3);
  EXPECT_EQ(made.dataset().size(), 2u);
  EXPECT_EQ(made.dataset().counts().other_category, 4u);
  made.options.categories = {2, 3};
  EXPECT_EQ(made.dataset().size(), 4u);
  made.options.categories = {};
  EXPECT_EQ(made.dataset().size(), 6u);
}

// ---- files made by hand ---------------------------------------------------------------------------------------------

std::string little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(i < 8 ? value >> 8 * i : 0);
  return out;
}
std::string big(uint64_t value, int bytes) {
  const std::string out = little(value, bytes);
  return {out.rbegin(), out.rend()};
}
uint32_t crc(const std::string& text) { return zip_crc(std::as_bytes(std::span(text))); }

// Deflate's stored blocks: length, its complement, bytes.
std::string stored_blocks(const std::string& bytes) {
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 60000) {
    const std::string block = bytes.substr(at, 60000);
    out += static_cast<char>(at + block.size() == bytes.size());
    out += little(block.size(), 2) + little(~block.size(), 2) + block;
  }
  return out;
}

std::string deflated_zip(const std::string& name, const std::string& bytes) {
  const std::string packed = stored_blocks(bytes);
  const std::string common = little(20, 2) + little(0, 2) + little(8, 2) + little(0, 4) + little(crc(bytes), 4) +
                             little(packed.size(), 4) + little(bytes.size(), 4) + little(name.size(), 2) + little(0, 2);
  const std::string local = "PK\3\4" + common + name + packed;
  const std::string directory = "PK\1\2" + little(20, 2) + common + little(0, 2) + little(0, 2) + little(0, 2) +
                                little(0, 4) + little(0, 4) + name;
  return local + directory + "PK\5\6" + little(0, 4) + little(1, 2) + little(1, 2) + little(directory.size(), 4) +
         little(local.size(), 4) + little(0, 2);
}

std::string TroubledSet::png_16(int w, int h) {
  const auto chunk = [](const std::string& type, const std::string& body) {
    return big(body.size(), 4) + type + body + big(crc(type + body), 4);
  };
  std::string rows;
  for (int y = 0; y < h; ++y) {
    rows += '\0';
    for (int x = 0; x < w; ++x) rows += big(uint64_t{256} * x + y, 2);
  }
  uint32_t a = 1, b = 0;
  for (const char c : rows) {
    a = (a + static_cast<uint8_t>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return "\x89PNG\r\n\x1a\n" +
         chunk("IHDR",
               big(static_cast<uint64_t>(w), 4) + big(static_cast<uint64_t>(h), 4) + std::string("\x10\0\0\0\0", 5)) +
         chunk("IDAT", "\x78\x01" + stored_blocks(rows) + big(b << 16 | a, 4)) + chunk("IEND", "");
}

}  // namespace
}  // namespace hr
