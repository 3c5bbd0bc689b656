// Locks of others, to measure cohort's against.
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <stdexcept>

namespace bench {

class PthreadMutex {
 public:
  enum class Kind { shared, robust };

  explicit PthreadMutex(Kind kind = Kind::robust) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (kind == Kind::robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (pthread_mutex_init(&mutex_, &attributes) != 0) throw std::runtime_error("no mutex");
    pthread_mutexattr_destroy(&attributes);
  }
  PthreadMutex(const PthreadMutex&) = delete;
  PthreadMutex& operator=(const PthreadMutex&) = delete;

  // 0, or EOWNERDEAD with the mutex taken.
  int lock() { return pthread_mutex_lock(&mutex_); }
  int try_lock() { return pthread_mutex_trylock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }
  pthread_mutex_t* native() { return &mutex_; }

 private:
  pthread_mutex_t mutex_;
};

// As a lock.
class BareSemaphore {
 public:
  BareSemaphore() { sem_init(&semaphore_, 1, 1); }
  BareSemaphore(const BareSemaphore&) = delete;
  BareSemaphore& operator=(const BareSemaphore&) = delete;

  void lock() { sem_wait(&semaphore_); }
  void unlock() { sem_post(&semaphore_); }

 private:
  sem_t semaphore_;
};

}  // namespace bench
