# Installs cohort from BUILD, then configures, builds and runs the project CONSUMER against it.
function(must_run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
must_run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${SCRATCH}/prefix)
must_run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${SCRATCH}/build -G ${GENERATOR}
         -D CMAKE_PREFIX_PATH=${SCRATCH}/prefix -D CMAKE_CXX_COMPILER=${COMPILER}
         -D CMAKE_BUILD_TYPE=${BUILD_TYPE} "-DCMAKE_CXX_FLAGS=${FLAGS}")
must_run(${CMAKE_COMMAND} --build ${SCRATCH}/build)
must_run(${SCRATCH}/build/consumer)
