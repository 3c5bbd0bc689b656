#include "launch/request.hpp"

#include <cstring>

#include "arena/shared_block.hpp"
#include "cohort/serialize.hpp"
#include "launch/handle_io.hpp"

namespace cohort::launch {

arena::Offset make_request(arena::Space& space, const StartInfo& info, const detail::Target& target,
                           arena::MemberId child) {
  HandleWriter writer;
  detail::encode(writer, info);
  target.encode(writer);
  arena::Offset parcel = arena::make_parcel(space, writer.blocks, writer.size());
  auto payload = arena::payload_of(space, parcel);
  std::memcpy(payload.data(), writer.bytes().data(), payload.size());
  for (arena::Offset block : writer.blocks) arena::hold(space, block, child);
  // From now on it goes with the child, so that a child outlives the asker that was killed.
  space.heap().change_owner(parcel, arena::Owner::member(space.self()),
                            arena::Owner::member(child));
  return parcel;
}

}  // namespace cohort::launch
