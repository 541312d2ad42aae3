// Small files of datasets, pictures and results from which fuzzing starts. All are made here, by our writers or by
// hand.
#pragma once
#include <map>
#include <string>

#include <fmt/format.h>

#include "data/formats/mat_file.h"
#include "data/pack/pack.h"
#include "tests/data/jpeg.h"
#include "tests/support/pth_builder.h"

namespace hr::test {

using SeedFiles = std::map<std::string, std::string>;  // by name

inline Image seed_picture(int width, int height) {
  Image image(width, height);
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>(i * i / 7 + 3 * i);
  return image;
}

inline std::string joint_list(int joints, bool whole) {
  std::string out = "[";
  for (int k = 0; k < joints; ++k) {
    out += fmt::format("{}{},{},{}", k == 0 ? "" : ",", whole ? 4 + k : 4.5 + k, whole ? 6 + 2 * k : 6.25 + k,
                       whole ? k % 3 : 0.5);
  }
  return out + "]";
}

inline SeedFiles coco_seeds() {
  const std::string person = R"({"id":1,"image_id":7,"category_id":1,"bbox":[2,3,40.5,50],"area":900.25,"iscrowd":0,)"
                             R"("num_keypoints":11,"keypoints":)" +
                             joint_list(17, true) + "}";
  const std::string categories =
      R"("categories":[{"id":1,"name":"person","keypoints":["left_eye","right_eye","tail"],"skeleton":[[1,2],[2,3]]}])";
  SeedFiles seeds;
  seeds["usual"] = R"({"info":{"year":2017},"images":[{"id":7,"file_name":"7.jpg","width":64,"height":60}],)"
                   R"("annotations":[)" +
                   person + "]," + categories + "}";
  seeds["crowdpose"] = R"({"images":[{"id":7,"file_name":"a","width":64,"height":60,"crowdIndex":0.5},)"
                       R"({"id":8,"file_name":"b\u00e9\n","width":null,"height":0}],"annotations":[)" +
                       person + R"(,{"id":2,"image_id":8,"bbox":[0,0,1,1],"iscrowd":true,"keypoints":[]}]})";
  std::string wholebody = person;
  wholebody.insert(wholebody.size() - 1, R"(,"foot_kpts":[1,2,0.5],"foot_valid":true,"face_kpts":[],)"
                                         R"("lefthand_kpts":[1,1,2],"righthand_valid":false)");
  seeds["bad"] =
      R"({"annotations":[)" + wholebody +
      R"(,{"id":1,"image_id":7},{"id":3,"image_id":9,"bbox":[1,2]},null,{"id":4.5,"area":NaN},)"
      R"({"id":5,"image_id":7,"bbox":[0,0,-5,1e308],"keypoints":[[1]],"iscrowd":"x","segmentation":[[1,2]]}],)"
      R"("images":[{"id":7},{"id":7},{"file_name":3}],)" +
      categories + "}";
  return seeds;
}

inline SeedFiles result_seeds() {
  SeedFiles seeds;
  seeds["keypoints"] = R"([{"image_id":1,"category_id":1,"keypoints":)" + joint_list(17, false) + R"(,"score":0.75},)" +
                       R"({"image_id":2,"category_id":1,"keypoints":)" + joint_list(17, true) +
                       R"(,"score":1e-3,"center":[1,2],"scale":[0.5,0.5]}])";
  seeds["boxes"] = R"([{"image_id":1,"category_id":1,"bbox":[1,2,3.5,4],"score":0.5}])";
  seeds["not finite"] = R"([{"image_id":1,"keypoints":[NaN,Infinity,-Infinity],"score":NaN}])";
  seeds["none"] = "[]";
  return seeds;
}

inline SeedFiles mpii_seeds() {
  std::string joints, visible;
  for (int k = 0; k < 16; ++k) {
    joints += fmt::format("{}[{},{}]", k == 0 ? "" : ",", 10.5 + k, k == 3 ? -1 : 20 + k);
    visible += fmt::format("{}{}", k == 0 ? "" : ",", k % 2);
  }
  SeedFiles seeds;
  seeds["valid"] = R"([{"image":"1.jpg","center":[50.0,60.5],"scale":1.25,"joints":[)" + joints +
                   R"(],"joints_vis":[)" + visible + "]}]";
  seeds["test"] = R"([{"image":"1.jpg","center":[-1,-1],"scale":-1}])";
  return seeds;
}

inline SeedFiles skeleton_seeds() {
  SeedFiles seeds;
  seeds["all fields"] =
      R"({"name":"three","keypoints":["left_hip","right_hip","nose"],"skeleton":[[1,2],[2,3]],"flip_pairs":[[0,1]],)"
      R"("kps_weights":[1,1.5,1],"upper_body_ids":[2],"lower_body_ids":[0,1],"sigmas":[0.1,0.1,0.025]})";
  seeds["names"] = R"({"keypoints":["a","\u00e9\t"],"note":{"x":[1,null,true]}})";
  return seeds;
}

inline std::string file_made_by(std::string_view extension, const std::function<void(const fs::path&)>& write) {
  const fs::path path = fs::temp_directory_path() / fmt::format("seed.{}{}", ::getpid(), extension);
  write(path);
  std::string bytes = read_file(path);
  fs::remove(path);
  return bytes;
}

inline SeedFiles mat_seeds() {
  std::map<std::string, MatArray> arrays;
  arrays["dataset_joints"] = {{1, 2}, {}, {"rank", "head"}};
  arrays["pos_gt_src"] = {{2, 2, 1}, {1, 2, 3.5, 4}, {}};
  arrays["jnt_missing"] = {{2, 1}, {0, 1}, {}};
  arrays["headboxes_src"] = {{2, 2, 1}, {1, 2, 3, 4}, {}};
  SeedFiles seeds;
  const auto packed = [](const std::string& file) {  // every element is compressed, as with "-v7"
    std::string out = file.substr(0, 128);
    for (size_t at = 128; at + 8 <= file.size();) {
      uint32_t size = 0;
      std::memcpy(&size, file.data() + at + 4, 4);
      std::string data(compressBound(8 + size), '\0');
      uLongf n = data.size();
      compress(reinterpret_cast<Bytef*>(data.data()), &n, reinterpret_cast<const Bytef*>(file.data() + at), 8 + size);
      out += little(15, 4) + little(n, 4) + data.substr(0, n);
      at += 8 + size;
    }
    return out;
  };
  for (const bool single : {false, true}) {
    const std::string file = file_made_by(".mat", [&](const fs::path& path) { write_mat(path, arrays, single); });
    const std::string name = single ? "single" : "double";
    seeds[name] = file;
    seeds[name + "_packed"] = packed(file);
  }
  return seeds;
}

// Pictures of 24 x 18 pixels in every format that is read.
inline SeedFiles picture_seeds() {
  const Image image = seed_picture(24, 18);
  SeedFiles seeds;
  seeds["420"] = made_jpeg(image, {});
  seeds["422_restart"] = made_jpeg(image, {.h = 2, .v = 1, .restart = 1});
  seeds["progressive"] = made_jpeg(image, {.progressive = true});
  seeds["grey"] = made_jpeg(image, {.space = JCS_GRAYSCALE});
  seeds["cmyk"] = made_jpeg(image, {.h = 1, .v = 1, .space = JCS_CMYK});
  seeds["arithmetic"] = made_jpeg(image, {.arithmetic = true});
  seeds["exif_6"] = with_orientation(seeds["420"], 6, true);
  seeds["exif_3"] = with_orientation(seeds["grey"], 3, false);
  seeds["png"] = file_made_by(".png", [&](const fs::path& path) { write_image(path, image); });
  std::string pixels(image.rgb.begin(), image.rgb.end());
  seeds["pnm"] = "P6\n# made\n24 18\n255\n" + pixels;
  seeds["pgm"] = "P5 24 18 65535\n" + pixels.substr(0, 24 * 18 * 2);
  seeds["bmp"] = "BM" + little(54 + pixels.size(), 4) + little(0, 4) + little(54, 4) + little(40, 4) + little(24, 4) +
                 little(18, 4) + little(1, 2) + little(24, 2) + little(0, 24) + pixels;
  // 2 x 2 pixels: clear, 0, 1, 1, 0, end, in codes of 3 bits.
  seeds["gif"] = "GIF89a" + little(2, 2) + little(2, 2) + little(0x80, 1) + little(0, 2) + std::string(6, '\x55') +
                 "," + little(0, 4) + little(2, 2) + little(2, 2) + little(0, 1) + "\x02\x03" + "\x44\x02\x05" +
                 std::string(1, '\0') + ";";
  return seeds;
}

inline SeedFiles picture_zip_seeds() {
  const std::string jpeg = made_jpeg(seed_picture(8, 8), {});
  SeedFiles seeds;
  seeds["stored"] = zip_of({{"1.jpg", jpeg}, {"fuzzed/2.jpg", "two"}});
  seeds["deflated"] = zip_of({{"1.jpg", std::string(3000, 'a') + jpeg, true}, {"folder/", ""}});
  // A member that claims to unpack to 2^30 bytes.
  std::string bomb = zip_of({{"1.jpg", std::string(3000, 'a'), true}});
  for (size_t at = 0; (at = bomb.find(little(3000, 4))) != std::string::npos;) {
    bomb.replace(at, 4, little(uint64_t{1} << 30, 4));
  }
  seeds["bomb"] = bomb;
  // The same with sizes and offsets in zip64 fields, and with the end record of zip64.
  const std::string name = "1.jpg", data = "a picture";
  const auto crc =
      static_cast<uint64_t>(crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
  const auto head = [&](int extra) {
    return little(45, 2) + little(0, 4) + little(0, 2) + little(0x21, 2) + little(crc, 4) + little(0xffffffffu, 4) +
           little(0xffffffffu, 4) + little(name.size(), 2) + little(static_cast<uint64_t>(extra), 2);
  };
  const std::string sizes = little(data.size(), 8) + little(data.size(), 8);
  const std::string member = "PK\x03\x04" + head(20) + name + little(1, 2) + little(16, 2) + sizes + data;
  const std::string directory = "PK\x01\x02" + little(45, 2) + head(28) + little(0, 2) + little(0, 4) + little(0, 4) +
                                little(0xffffffffu, 4) + name + little(1, 2) + little(24, 2) + sizes + little(0, 8);
  const uint64_t end = member.size() + directory.size();
  seeds["zip64"] = member + directory + "PK\x06\x06" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) +
                   little(1, 8) + little(1, 8) + little(directory.size(), 8) + little(member.size(), 8) + "PK\x06\x07" +
                   little(0, 4) + little(end, 8) + little(1, 4) + "PK\x05\x06" + little(0, 4) + little(1, 2) +
                   little(1, 2) + little(0xffffffffu, 4) + little(0xffffffffu, 4) + little(0, 2);
  return seeds;
}

// A pack of one picture and two people, with and without augmentation.
inline SeedFiles pack_seeds() {
  const fs::path folder = fs::temp_directory_path() / fmt::format("seed.{}", ::getpid());
  fs::create_directories(folder);
  write_image(folder / "1.png", seed_picture(60, 50));
  CocoAnnotations file;
  file.path = "made.json";
  file.images.push_back({1, "1.png", 60, 50});
  file.categories.push_back({1, "person", {"a", "b"}, {{1, 2}}});
  for (int i = 0; i < 2; ++i) {
    CocoAnnotation a;
    a.id = i + 1;
    a.image_id = 1;
    a.box = {5.0 + 10 * i, 4, 20, 30};
    a.area = 600;
    for (int k = 0; k < 17; ++k) a.keypoints.insert(a.keypoints.end(), {8.0 + k, 9.0 + k, 2.0});
    file.annotations.push_back(a);
  }
  SeedFiles seeds;
  for (const bool augment : {false, true}) {
    const PoseDataset set = PoseDataset::from_annotations(file, folder, coco_skeleton(),
                                                          {.input_h = 64, .input_w = 48, .augment = augment});
    const PackInput input{"train", &set};
    seeds[augment ? "augmented" : "plain"] = file_made_by(".pack", [&](const fs::path& path) {
      write_pack(path, {&input, 1}, 1);
    });
  }
  fs::remove_all(folder);
  return seeds;
}

}  // namespace hr::test
