// make_files FOLDER: writes small files for the examples: pose.safetensors, detector.safetensors, picture.png, and
// video.mp4 if this build can write videos.
#include "data/formats/image.h"
#include "data/video/video_reader.h"
#include "data/video/video_writer.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/yolox.h"

int main(int, char** argv) {
  const hr::fs::path folder = argv[1];
  hr::fs::create_directories(folder);
  hr::Context cx;
  const auto model = hr::make_model(cx, "hrnet_w2", 17, 3, hr::Init::torch);
  hr::save_state_dict(folder / "pose.safetensors", model->parameters(), {{"input_h", "96"}, {"input_w", "64"}});
  // The scores of this detector are near 1/4 everywhere, so that it finds somebody in any picture.
  hr::fs::copy_file(hr::test::write_yolox({.stem = 8, .depth = 1, .classes = 1}), folder / "detector.safetensors",
                    hr::fs::copy_options::overwrite_existing);
  hr::Image picture(96, 64);
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 96; ++x) {
      picture.at(x, y)[0] = static_cast<uint8_t>(x * 2);
      picture.at(x, y)[1] = static_cast<uint8_t>(y * 3);
    }
  }
  hr::write_image(folder / "picture.png", picture);
  if (!hr::has_video()) return 0;
  hr::VideoWriter video(folder / "video.mp4", 96, 64);
  for (int i = 0; i < 5; ++i) video.write(picture, i * 0.04);
  video.finish();
}
