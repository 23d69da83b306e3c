// `genie::append`: a `cat` that writes behind its first operand, where that has room and is wanted no more.
#include "frame.h"

#include <algorithm>

namespace genie {

void Replayer::append(Frame& frame, const ReplayOp& op) {
  const auto& parts = op.args[0].items;
  const auto& output = op.outputs[0];
  const auto old_slot = frame.program.tensors[parts[0].index].slot;
  const auto made = frame.geometry(output.tensor), old = frame.geometry(parts[0].index);
  const auto rank = static_cast<int64_t>(made.size.size());
  const auto given = op.args[1].constant.toInt();
  const auto dim = given < 0 ? given + rank : given;
  std::vector<at::Tensor> tensors;
  for (const auto& part : parts) tensors.push_back(frame.tensor(part.index, true));

  const auto& bound = frame.program.bound;
  const auto position = std::find(bound.begin(), bound.end(), old_slot) - bound.begin();
  const bool is_input = position < static_cast<std::ptrdiff_t>(bound.size()) && !frame.program.made_here[old_slot];
  const bool dies = is_input && op.last_read &&
                    std::count(frame.run.freed.begin(), frame.run.freed.end(), frame.run.ids[static_cast<size_t>(position)]) != 0;
  const bool alike = std::all_of(tensors.begin(), tensors.end(), [&](const at::Tensor& part) {
    return part.scalar_type() == made.dtype && part.dim() == rank;
  });
  if (dim < 0 || dim >= rank || !dies || !frame.kept[output.slot] || !is_packed(made) || !is_packed(old) || !alike || extent_of(made) == 0) {
    torch::jit::Stack stack{at::cat(tensors, given)};
    return take_outputs(frame, op, stack);
  }
  const auto wanted = Slack::of(made, dim);
  auto slack = frame.slots[old_slot].slack;
  auto storage = frame.slots[old_slot].storage;
  size_t first = 1;  // the first operand is there already
  if (!slack || slack->rows != wanted.rows || slack->inner != wanted.inner || slack->length != old.size[static_cast<size_t>(dim)] ||
      slack->capacity < wanted.length) {
    slack = wanted;
    slack->length = 0;
    storage = store_.allocate(static_cast<size_t>(slack->elements()) * c10::elementSize(slack->dtype));
    first = 0;
  }
  int64_t length = first == 0 ? 0 : slack->length;
  for (size_t i = first; i < tensors.size(); ++i) {
    const auto positions = tensors[i].size(dim);
    make_view(storage, slack->part(length, positions)).copy_(tensors[i].reshape({slack->rows, positions, slack->inner}));
    length += positions;
  }
  TORCH_CHECK_VALUE(length == wanted.length, "the parts do not make up what shape inference had promised");
  slack->length = length;
  frame.slots[output.slot] = {std::move(storage), {}, nullptr, slack};
}

}  // namespace genie
