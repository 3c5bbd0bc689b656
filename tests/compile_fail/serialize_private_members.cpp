// expect: not serializable
// expect: void serialize(Archive& ar) { ar(a, b); }
#include <cohort/serialize.hpp>

class Account {
 public:
  Account() = default;
#ifdef FIXED
  template <class Archive>
  void serialize(Archive& ar) {
    ar(cents_);
  }
#endif
  int cents() const { return cents_; }

 private:
  int cents_ = 0;
};

Account use(cohort::detail::Reader& reader) { return cohort::detail::decode<Account>(reader); }
