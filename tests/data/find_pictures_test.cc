#include "data/formats/find_pictures.h"

#include <gtest/gtest.h>

#include "tests/data/golden.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::contains;
using test::error_of;

std::vector<std::string> names(const std::vector<fs::path>& paths) {
  std::vector<std::string> list;
  for (const fs::path& path : paths) list.push_back(path.filename().string());
  return list;
}

TEST(FindPictures, NamedFilesAndTheContentsOfFoldersAreListedOnce) {
  const fs::path folder = test::temporary_folder();
  for (const char* name : {"b.JPG", "a.pnm", "c.ppm", "notes.txt", "photo.heic", "._b.jpg", "Thumbs.db"}) {
    write_file(folder / name, "x");
  }
  fs::create_directories(folder / "inner.d");
  write_file(folder / "inner.d" / "d.png", "x");
  const FoundPictures found = find_pictures({(folder / "notes.txt").string(), folder.string(),
                                             (folder / "inner.d/../b.JPG").string(), (folder / "inner.d").string()});
  EXPECT_EQ(names(found.pictures), (std::vector<std::string>{"notes.txt", "a.pnm", "b.JPG", "c.ppm", "d.png"}));
  EXPECT_EQ(names(found.left_out), (std::vector<std::string>{"notes.txt", "photo.heic"}));
}

TEST(FindPictures, VideosAndStreamsAreInputsOnlyIfTheyAreAskedFor) {
  const fs::path folder = test::temporary_folder();
  for (const char* name : {"a.mp4", "b.png", "c.MOV"}) write_file(folder / name, "x");
  const FoundInputs found = find_inputs({folder.string(), "camera:0", "camera:0", (folder / "a.mp4").string()});
  std::vector<std::string> sources;
  for (const NamedInput& input : found.inputs) {
    sources.push_back(input.path().filename().string() + (input.video ? " video" : ""));
  }
  EXPECT_EQ(sources, (std::vector<std::string>{"a.mp4 video", "b.png", "c.MOV video", "camera:0 video"}));
  const FoundPictures pictures = find_pictures({folder.string()});
  EXPECT_EQ(names(pictures.pictures), (std::vector<std::string>{"b.png"}));
  EXPECT_EQ(names(pictures.left_out), (std::vector<std::string>{"a.mp4", "c.MOV"}));
}

TEST(FindPictures, AFolderWithoutPicturesIsRefusedWithWhatItHas) {
  const fs::path folder = test::temporary_folder();
  EXPECT_TRUE(contains(error_of([&] { find_pictures({folder.string()}); }), "no pictures in this folder"));
  for (const char* name : {"1.heic", "2.heic", "3.heic", "4.heic"}) write_file(folder / name, "x");
  const std::string error = error_of([&] { find_pictures({folder.string()}); });
  EXPECT_TRUE(contains(error, "found 1.heic, 2.heic, 3.heic and 1 more; convert them first")) << error;
  EXPECT_TRUE(contains(error_of([] { find_pictures({"/nowhere/a.jpg"}); }), "/nowhere/a.jpg: no such file"));
}

}  // namespace
}  // namespace hr
