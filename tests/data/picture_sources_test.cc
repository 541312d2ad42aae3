// Folders and zip files as sources of pictures: the same pictures, names as people write them, and EXIF orientation.
#include <gtest/gtest.h>

#include <fstream>

#include "core/io/zip.h"
#include "data/loader.h"
#include "tests/data/hand_made.h"
#include "tests/data/jpeg.h"
#include "tests/data/made_set.h"

namespace hr {
namespace {

using test::contains;
using test::crc;
using test::deflated_zip;
using test::error_of;
using test::little;
using test::MadeSet;
using test::text_of;

// ---- zip ------------------------------------------------------------------------------------------------------------

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

}  // namespace
}  // namespace hr
