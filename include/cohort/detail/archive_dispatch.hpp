// How OutArchive and InArchive call a class's own functions: cereal's rules, with `if constexpr`.
#pragma once

#include <cohort/detail/codec.hpp>
#include <cstdint>
#include <type_traits>

namespace cohort::detail {

// The wrappers that cereal's users put around values.
template <class T>
inline constexpr bool is_pair = false;
template <class T>
inline constexpr bool is_pair<cereal::NameValuePair<T>> = true;
template <class T>
inline constexpr bool is_size = false;
template <class T>
inline constexpr bool is_size<cereal::SizeTag<T>> = true;
template <class T>
inline constexpr bool is_binary = false;
template <class T>
inline constexpr bool is_binary<cereal::BinaryData<T>> = true;
template <class T>
inline constexpr bool is_deferred = false;
template <class T>
inline constexpr bool is_deferred<cereal::DeferredData<T>> = true;
template <class T>
inline constexpr bool is_base = false;
template <class T>
inline constexpr bool is_base<cereal::base_class<T>> = true;
template <class T>
inline constexpr bool is_virtual_base = false;
template <class T>
inline constexpr bool is_virtual_base<cereal::virtual_base_class<T>> = true;

// What cereal's smart pointer functions wrap; void for everything else.
template <class T>
struct SharedPointee {
  using Type = void;
};
template <class T>
struct SharedPointee<cereal::memory_detail::PtrWrapper<const std::shared_ptr<T>&>> {
  using Type = T;
};
template <class T>
struct SharedPointee<cereal::memory_detail::PtrWrapper<std::shared_ptr<T>&>> {
  using Type = T;
};
template <class T>
using SharedPointeeOf = typename SharedPointee<T>::Type;

// One way counts if the class has it and did not choose another with cereal::specialize.
template <class Has, class Chosen, class AnyChosen>
inline constexpr bool use = Has::value && (Chosen::value || !AnyChosen::value);

template <class List, class T>
bool first_visit(List& seen, const T* base) {
  const typename List::value_type key(base, tag_of<T>());
  for (const auto& other : seen) {
    if (other == key) return false;
  }
  seen.push_back(key);
  return true;
}

template <class T>
void OutArchive::process_one(const T& value) {
  if constexpr (is_pair<T>) {
    process_one(value.value);
  } else if constexpr (is_size<T>) {
    const std::uint64_t size = value.size;
    encoder_.out.write(&size, sizeof size);
  } else if constexpr (is_binary<T>) {
    encoder_.out.write(value.data, value.size);
  } else if constexpr (is_deferred<T>) {
    deferred_.emplace_back([this, value] { process_one(value.value); });
  } else if constexpr (is_base<T>) {
    process_one(*value.base_ptr);
  } else if constexpr (is_virtual_base<T>) {
    if (first_visit(virtual_bases_, value.base_ptr)) process_one(*value.base_ptr);
  } else if constexpr (!std::is_void_v<SharedPointeeOf<T>>) {
    shared_tag_ = tag_of<SharedPointeeOf<T>>();
    save_class(value);
  } else if constexpr (std::is_class_v<T> && !HasCodec<T> && SavesItself<T>) {
    const Nesting<Encoder> nesting(encoder_);
    save_class(value);
  } else {
    put(encoder_, value);
  }
}

template <class T>
std::uint32_t OutArchive::class_version() {
  for (const auto& [tag, version] : versions_) {
    if (tag == tag_of<T>()) return version;
  }
  const std::uint32_t version = cereal::detail::Version<T>::version;
  encoder_.out.write(&version, sizeof version);
  versions_.emplace_back(tag_of<T>(), version);
  return version;
}

template <class T>
void OutArchive::save_class(const T& object) {
  namespace traits = cereal::traits;
  using AnyChosen = traits::is_specialized<T, OutArchive>;
  [[maybe_unused]] T& mutable_object = const_cast<T&>(object);  // serialize() only reads here
  if constexpr (use<traits::has_member_serialize<T, OutArchive>,
                    traits::is_specialized_member_serialize<T, OutArchive>, AnyChosen>) {
    cereal::access::member_serialize(*this, mutable_object);
  } else if constexpr (use<traits::has_non_member_serialize<T, OutArchive>,
                           traits::is_specialized_non_member_serialize<T, OutArchive>, AnyChosen>) {
    serialize(*this, mutable_object);
  } else if constexpr (use<traits::has_member_save<T, OutArchive>,
                           traits::is_specialized_member_save<T, OutArchive>, AnyChosen>) {
    cereal::access::member_save(*this, object);
  } else if constexpr (use<traits::has_non_member_save<T, OutArchive>,
                           traits::is_specialized_non_member_save<T, OutArchive>, AnyChosen>) {
    save(*this, object);
  } else if constexpr (use<traits::has_member_save_minimal<T, OutArchive>,
                           traits::is_specialized_member_save_minimal<T, OutArchive>, AnyChosen>) {
    process(cereal::access::member_save_minimal(*this, object));
  } else if constexpr (use<traits::has_non_member_save_minimal<T, OutArchive>,
                           traits::is_specialized_non_member_save_minimal<T, OutArchive>,
                           AnyChosen>) {
    process(save_minimal(*this, object));
  } else if constexpr (use<traits::has_member_versioned_serialize<T, OutArchive>,
                           traits::is_specialized_member_versioned_serialize<T, OutArchive>,
                           AnyChosen>) {
    cereal::access::member_serialize(*this, mutable_object, class_version<T>());
  } else if constexpr (use<traits::has_non_member_versioned_serialize<T, OutArchive>,
                           traits::is_specialized_non_member_versioned_serialize<T, OutArchive>,
                           AnyChosen>) {
    serialize(*this, mutable_object, class_version<T>());
  } else if constexpr (use<traits::has_member_versioned_save<T, OutArchive>,
                           traits::is_specialized_member_versioned_save<T, OutArchive>,
                           AnyChosen>) {
    cereal::access::member_save(*this, object, class_version<T>());
  } else if constexpr (use<traits::has_non_member_versioned_save<T, OutArchive>,
                           traits::is_specialized_non_member_versioned_save<T, OutArchive>,
                           AnyChosen>) {
    save(*this, object, class_version<T>());
  } else if constexpr (use<traits::has_member_versioned_save_minimal<T, OutArchive>,
                           traits::is_specialized_member_versioned_save_minimal<T, OutArchive>,
                           AnyChosen>) {
    process(cereal::access::member_save_minimal(*this, object, class_version<T>()));
  } else if constexpr (use<traits::has_non_member_versioned_save_minimal<T, OutArchive>,
                           traits::is_specialized_non_member_versioned_save_minimal<T, OutArchive>,
                           AnyChosen>) {
    process(save_minimal(*this, object, class_version<T>()));
  } else {
    static_assert(!sizeof(T), "this class has no unambiguous serialize(), save() or load()");
  }
}

template <class T>
void InArchive::process_one(T& value) {
  using Plain = std::remove_const_t<T>;
  if constexpr (is_pair<Plain>) {
    process_one(value.value);
  } else if constexpr (is_size<Plain>) {
    std::uint64_t size = 0;
    decoder_.in.read(&size, sizeof size);
    // Checked here, since the class will resize something to it.
    if (size > decoder_.in.remaining()) throw_serialization_error("a length exceeds the message");
    value.size = static_cast<std::remove_reference_t<decltype(value.size)>>(size);
  } else if constexpr (is_binary<Plain>) {
    decoder_.in.read(value.data, value.size);
  } else if constexpr (is_deferred<Plain>) {
    deferred_.emplace_back([this, value] { process_one(value.value); });
  } else if constexpr (is_base<Plain>) {
    process_one(*value.base_ptr);
  } else if constexpr (is_virtual_base<Plain>) {
    if (first_visit(virtual_bases_, value.base_ptr)) process_one(*value.base_ptr);
  } else if constexpr (!std::is_void_v<SharedPointeeOf<Plain>>) {
    shared_tag_ = tag_of<SharedPointeeOf<Plain>>();
    load_class(const_cast<Plain&>(value));
  } else if constexpr (std::is_class_v<Plain> && !HasCodec<Plain> && LoadsItself<Plain>) {
    const Nesting<Decoder> nesting(decoder_);
    load_class(const_cast<Plain&>(value));
  } else {
    get(decoder_, const_cast<Plain&>(value));
  }
}

template <class T>
std::uint32_t InArchive::class_version() {
  for (const auto& [tag, version] : versions_) {
    if (tag == tag_of<T>()) return version;
  }
  std::uint32_t version = 0;
  decoder_.in.read(&version, sizeof version);
  versions_.emplace_back(tag_of<T>(), version);
  return version;
}

template <class T>
void InArchive::load_class(T& object) {
  namespace traits = cereal::traits;
  using AnyChosen = traits::is_specialized<T, InArchive>;
  if constexpr (use<traits::has_member_serialize<T, InArchive>,
                    traits::is_specialized_member_serialize<T, InArchive>, AnyChosen>) {
    cereal::access::member_serialize(*this, object);
  } else if constexpr (use<traits::has_non_member_serialize<T, InArchive>,
                           traits::is_specialized_non_member_serialize<T, InArchive>, AnyChosen>) {
    serialize(*this, object);
  } else if constexpr (use<traits::has_member_load<T, InArchive>,
                           traits::is_specialized_member_load<T, InArchive>, AnyChosen>) {
    cereal::access::member_load(*this, object);
  } else if constexpr (use<traits::has_non_member_load<T, InArchive>,
                           traits::is_specialized_non_member_load<T, InArchive>, AnyChosen>) {
    load(*this, object);
  } else if constexpr (use<traits::has_member_load_minimal<T, InArchive>,
                           traits::is_specialized_member_load_minimal<T, InArchive>, AnyChosen>) {
    typename traits::has_member_save_minimal<T, OutArchive>::type value;
    process(value);
    cereal::access::member_load_minimal(*this, object, value);
  } else if constexpr (use<traits::has_non_member_load_minimal<T, InArchive>,
                           traits::is_specialized_non_member_load_minimal<T, InArchive>,
                           AnyChosen>) {
    typename traits::has_non_member_save_minimal<T, OutArchive>::type value;
    process(value);
    load_minimal(*this, object, value);
  } else if constexpr (use<traits::has_member_versioned_serialize<T, InArchive>,
                           traits::is_specialized_member_versioned_serialize<T, InArchive>,
                           AnyChosen>) {
    cereal::access::member_serialize(*this, object, class_version<T>());
  } else if constexpr (use<traits::has_non_member_versioned_serialize<T, InArchive>,
                           traits::is_specialized_non_member_versioned_serialize<T, InArchive>,
                           AnyChosen>) {
    serialize(*this, object, class_version<T>());
  } else if constexpr (use<traits::has_member_versioned_load<T, InArchive>,
                           traits::is_specialized_member_versioned_load<T, InArchive>, AnyChosen>) {
    cereal::access::member_load(*this, object, class_version<T>());
  } else if constexpr (use<traits::has_non_member_versioned_load<T, InArchive>,
                           traits::is_specialized_non_member_versioned_load<T, InArchive>,
                           AnyChosen>) {
    load(*this, object, class_version<T>());
  } else if constexpr (use<traits::has_member_versioned_load_minimal<T, InArchive>,
                           traits::is_specialized_member_versioned_load_minimal<T, InArchive>,
                           AnyChosen>) {
    const auto version = class_version<T>();
    typename traits::has_member_versioned_save_minimal<T, OutArchive>::type value;
    process(value);
    cereal::access::member_load_minimal(*this, object, value, version);
  } else if constexpr (use<traits::has_non_member_versioned_load_minimal<T, InArchive>,
                           traits::is_specialized_non_member_versioned_load_minimal<T, InArchive>,
                           AnyChosen>) {
    const auto version = class_version<T>();
    typename traits::has_non_member_versioned_save_minimal<T, OutArchive>::type value;
    process(value);
    load_minimal(*this, object, value, version);
  } else {
    static_assert(!sizeof(T), "this class has no unambiguous serialize(), save() or load()");
  }
}

}  // namespace cohort::detail
