#include <cohort/detail/fingerprint.hpp>
#include <cohort/detail/rethrow.hpp>
#include <cohort/error.hpp>
#include <new>
#include <string>

namespace cohort::detail {

void check_type_header(Reader& reader, std::uint64_t expected, std::string_view expected_name) {
  unsigned char bytes[9];
  reader.read(bytes, sizeof bytes);
  std::uint64_t found = 0;
  for (int i = 0; i < 8; ++i) found |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
  const auto name = reader.view(bytes[8]);
  if (found == expected) return;
  throw TypeMismatch(expected_name,
                     std::string_view(reinterpret_cast<const char*>(name.data()), name.size()));
}

void rethrow_as_serialization_error() {
  try {
    throw;
  } catch (const cereal::Exception& error) {
    throw SerializationError(error.what());
  } catch (const std::length_error& error) {
    throw SerializationError(error.what());
  }
}

}  // namespace cohort::detail
