#include "launch/exception_parcel.hpp"

#include <cxxabi.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <typeinfo>

#include "arena/shared_block.hpp"
#include "cohort/detail/remote_exception.hpp"
#include "launch/handle_io.hpp"
#include "launch/throw_trace.hpp"

namespace cohort::launch {

using arena::Owner;

arena::Offset pack_exception(arena::Space& space, arena::MemberId receiver) noexcept {
  try {
    HandleWriter writer;
    detail::encode_exception(writer, std::current_exception(), detail::throw_trace());
    arena::Offset parcel = arena::make_parcel(space, {}, writer.size());
    std::memcpy(arena::payload_of(space, parcel).data(), writer.bytes().data(), writer.size());
    space.heap().change_owner(parcel, Owner::member(space.self()), Owner::member(receiver));
    return parcel;
  } catch (...) {
    return 0;
  }
}

void throw_packed_exception(arena::Space& space, arena::Offset parcel) {
  std::exception_ptr unpacked;
  {
    HandleReader reader(arena::payload_of(space, parcel));
    unpacked = detail::decode_exception(reader);
  }
  arena::drop_parcel(space, parcel);
  std::rethrow_exception(unpacked);
}

namespace {

// Type and message of the exception being handled.
std::string description() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  std::string text = type ? detail::demangle(type->name()) : "unknown exception";
  try {
    throw;
  } catch (const std::exception& error) {
    text.append(": ").append(error.what());
  } catch (...) {
    // Nothing more is known of it.
  }
  return text;
}

}  // namespace

void report_uncaught(const char* kind, const char* name) noexcept {
  try {
    std::string text = std::string(kind) + " " + name + ":\n";
    std::string trace = detail::throw_trace();
    if (!trace.empty()) text += "Traceback (innermost first):\n" + trace;
    if (text.back() != '\n') text += '\n';
    text += description() + "\n";
    std::fwrite(text.data(), 1, text.size(), stderr);
  } catch (...) {
    std::fprintf(stderr, "%s %s: an exception left it\n", kind, name);
  }
  std::fflush(stderr);
}

}  // namespace cohort::launch
