// Objects that a pickle makes by calling a class: known ones become data.
#pragma once

#include <cstddef>
#include <string_view>

#include "cohort/object.hpp"
#include "wire/pickle_classes.hpp"

namespace cohort::wire {

// What calling a known class with these arguments gives. SerializationError when they do not fit.
managers::Object call_class(ClassKind kind, const ClassName& name, const managers::Object& args);

}  // namespace cohort::wire
