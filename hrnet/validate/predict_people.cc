#include "hrnet/validate/predict_people.h"

#include <deque>

#include "core/error.h"
#include "core/stopwatch.h"
#include "hrnet/infer/device_loader.h"
#include "hrnet/validate/gather_people.h"

namespace hr {

std::vector<PersonResult> predict_people(HeatmapRunner& runner, const PoseDataset& dataset,
                                         const PredictPeopleOptions& o) {
  const DecodeOptions& decoding = o.decoding;
  Comm* ranks = o.ranks;
  check((encoding_of(decoding.codec) == Encoding::udp) == (dataset.options().encoding == Encoding::udp),
        "decoding with codec {}, but the dataset makes crops for {}; open it with the encoding of the codec",
        codec_name(decoding.codec), encoding_name(dataset.options().encoding));
  runner.discard();  // Removes what a call that failed has left.
  const double started = now();
  const Shard shard = ranks != nullptr ? Shard{ranks->rank(), ranks->size()} : Shard{};
  Loader loader(dataset,
                loader_for(runner.context().device,
                           {.batch_size = o.batch_size, .workers = o.workers, .targets = false, .shard = shard}));
  loader.start_epoch(0);
  std::vector<PersonResult> people;
  const auto report = [&](bool finished) {
    if (!o.progress) return;
    const double seconds = now() - started;
    const auto done = static_cast<double>(people.size() * shard.ranks);
    o.progress({people.size(), shard.size(dataset.size()), seconds > 0 ? done / seconds : 0, finished});
  };
  report(false);
  people.reserve(dataset.size());
  Batch batch;
  std::deque<std::vector<SampleMeta>> metas;  // Of the batches in flight.
  for (bool more = true;;) {
    while (!runner.full() && (more = more && loader.next(batch))) {
      runner.submit(batch);
      metas.push_back(std::move(batch.meta));
    }
    if (metas.empty()) break;
    const Heatmaps maps = runner.wait();
    const std::vector<SampleMeta> meta_of = std::move(metas.front());
    metas.pop_front();
    std::vector<float> poses = decode(maps, decoding);  // The device computes the next batches meanwhile.
    std::vector<Affine> places;
    for (const SampleMeta& meta : meta_of) places.push_back(meta.heatmap_to_image);
    to_image(poses, maps.joints, places);
    const auto numbers = static_cast<ptrdiff_t>(maps.joints) * 3;
    for (int i = 0; i < maps.n; ++i) {
      const SampleMeta& meta = meta_of[i];
      if (meta.substitute) continue;  // The picture could not be read, so there is no pose of this person.
      PersonResult& person = people.emplace_back();
      person.image_id = meta.image_id;
      person.keypoints.assign(poses.begin() + i * numbers, poses.begin() + (i + 1) * numbers);
      person.category_id = meta.category_id;
      person.score = meta.box_score;
      std::copy_n(meta.center, 2, person.center);
      std::copy_n(meta.scale, 2, person.scale);
      person.area = meta.area;
    }
    report(false);
    if (ranks != nullptr) ranks->check();
  }
  report(true);
  if (shard.ranks > 1) {
    ranks->barrier();  // The ranks are not equally fast.
    return gather_people(*ranks, loader.order(), people, dataset.size());
  }
  return people;
}

}  // namespace hr
