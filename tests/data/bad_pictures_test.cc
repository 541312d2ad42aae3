// Bad pictures and boxes: which are found, named, skipped and replaced.
#include <gtest/gtest.h>

#include <set>

#include "data/loader.h"
#include "tests/data/hand_made.h"
#include "tests/data/jpeg.h"
#include "tests/data/made_set.h"

namespace hr {
namespace {

using test::big;
using test::contains;
using test::crc;
using test::error_of;
using test::MadeSet;
using test::stored_blocks;

// A PNG with 16 bits a sample, stored blocks, grey; pixel (x, y) has 256 x + y.
std::string png_16(int w, int h) {
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

}  // namespace
}  // namespace hr
