// Results of a dataset that several ranks have shared, put back together.
#pragma once
#include <span>
#include <vector>

#include "core/comm/comm.h"
#include "eval/results.h"

namespace hr {

// mine[i] is what this rank made of sample indices[i]; the padding of shards makes some samples turn up twice. Returns,
// on every rank, one result per sample in the order of the dataset: what one process gets. Error if one is missing.
std::vector<PersonResult> gather_people(Comm& comm, std::span<const size_t> indices, std::span<const PersonResult> mine,
                                        size_t dataset_size);

}  // namespace hr
