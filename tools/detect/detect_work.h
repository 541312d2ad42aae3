// The pictures that the program detect reads, and the files and numbers that it makes of the boxes.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/formats/pictures.h"
#include "hrnet/infer/person_detector.h"
#include "tools/programs/detect.h"

namespace hr {

// The pictures with their ids, and the ground truth for them if there is one.
struct DetectWork {
  std::shared_ptr<const PictureSource> source;
  std::vector<CocoImage> images;
  std::optional<CocoAnnotations> truth;
};
// Returns the pictures and folders that are named, or those of the dataset.
DetectWork detect_work(const DetectOptions& options);

// Returns a COCO result file: boxes with three decimals of a pixel, scores with six.
std::string results_json(const std::vector<CocoDetection>& boxes, const std::vector<CocoImage>* names);

void draw_boxes(Image image, std::span<const DetectedBox> found, const YoloxShape& shape, double threshold,
                const fs::path& path);

// Prints the twelve numbers of pycocotools, for the categories that were looked for and that the ground truth has.
void measure_boxes(const CocoAnnotations& truth, const std::vector<CocoDetection>& boxes, const DetectOptions& options,
                   const PersonDetector& detector);

}  // namespace hr
