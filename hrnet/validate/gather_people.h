// Combines the results of a dataset that several ranks have shared.
#pragma once
#include <span>
#include <vector>

#include "core/comm/comm.h"
#include "eval/results.h"

namespace hr {

// mine[i] is this rank's result for sample indices[i]. Some samples occur twice, since shards are padded to equal size.
// Returns on every rank one result per sample in the order of the dataset, as a single process would. All ranks must
// call it. Throws Error if a sample has no result.
std::vector<PersonResult> gather_people(Comm& comm, std::span<const size_t> indices, std::span<const PersonResult> mine,
                                        size_t dataset_size);

}  // namespace hr
