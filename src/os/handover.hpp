// For ThreadSanitizer, which sees one process: memory that is handed to another process and freed
// there may be allocated here again, and that is an order of things too.
#pragma once

#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace cohort::os {

#if defined(__SANITIZE_THREAD__)
inline char handed_over;
inline void hand_over() { __tsan_release(&handed_over); }
inline void take_over() { __tsan_acquire(&handed_over); }
#else
inline void hand_over() {}
inline void take_over() {}
#endif

}  // namespace cohort::os
