# Fails if the object file of a level defines symbols outside the level's namespace: an inline function that other files
# define too would be linked from any of them, and may need instructions that the processor lacks.
execute_process(COMMAND ${NM} -C --defined-only --extern-only ${OBJECT} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" lines "${symbols}")
foreach(line IN LISTS lines)
  if(line MATCHES "^[0-9a-f]+ ." AND NOT line MATCHES "gpt2::${LEVEL}::")
    message(SEND_ERROR "${LEVEL}: ${line}")
  endif()
endforeach()
if(NOT symbols MATCHES "gpt2::${LEVEL}::kKernels")
  message(SEND_ERROR "${LEVEL}: no table of kernels")
endif()
