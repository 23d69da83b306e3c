#include "store.h"

#include <ATen/core/grad_mode.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>

namespace genie {

at::Tensor bytes_of(const c10::Storage& storage) {
  Geometry bytes;
  bytes.dtype = at::kByte;
  bytes.size.push_back(static_cast<int64_t>(storage.nbytes()));
  bytes.stride.push_back(1);
  return make_view(storage, bytes);
}

void StoredValue::pack() {
  if (!slack) return;
  const at::NoGradGuard guard;
  storage = make_view(storage, slack->part(0, slack->length)).clone(at::MemoryFormat::Contiguous).storage();
  slack = nullopt;
}

c10::Storage ValueStore::allocate(size_t nbytes) const {
  return at::empty({static_cast<int64_t>(nbytes)}, at::TensorOptions().dtype(at::kByte).device(device_)).storage();
}

at::Generator ValueStore::make_generator(uint64_t seed) const {
  auto generator = device_.is_cpu() ? at::detail::createCPUGenerator() : at::globalContext().defaultGenerator(device_).clone();
  generator.set_current_seed(seed);
  return generator;
}

void ValueStore::put(uint64_t id, const void* data, size_t nbytes) {
  auto storage = allocate(nbytes);
  if (device_.is_cpu()) {
    if (nbytes > 0) std::memcpy(storage.mutable_data(), data, nbytes);
  } else {
    const auto count = static_cast<int64_t>(nbytes);
    auto source = at::from_blob(const_cast<void*>(data), {count}, at::TensorOptions().dtype(at::kByte));
    bytes_of(storage).copy_(source);
  }
  values_[id] = {std::move(storage), {}, nullptr, {}};
}

StoredValue* ValueStore::find(uint64_t id) {
  const auto found = values_.find(id);
  return found == values_.end() ? nullptr : &found->second;
}

at::Tensor ValueStore::read(uint64_t id, const Geometry& view) const {
  const auto found = values_.find(id);
  TORCH_CHECK_VALUE(found != values_.end(), "value ", id, " does not exist in this session");
  if (found->second.failure) throw ReplayError(found->second.failure);
  TORCH_CHECK_VALUE(found->second.storage, "value ", id, " is a generator, not a tensor");
  const at::NoGradGuard guard;
  auto value = found->second;
  value.pack();
  const auto tensor = make_view(value.storage, view);
  return tensor.resolve_conj().resolve_neg().to(at::kCPU).contiguous();
}

void ValueStore::synchronize() const {
  if (device_.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(device_.type());
  guard.synchronizeStream(guard.getStream(device_));
}

size_t ValueStore::nbytes() const {
  size_t total = 0;
  for (const auto& [id, value] : values_) total += value.storage ? value.storage.nbytes() : 0;
  return total;
}

}  // namespace genie
