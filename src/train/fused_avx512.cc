// The avx512 row of the table in fused.cc.
#define SEDGE_FUSED_SET avx512
#define SEDGE_FUSED_NAME "avx512"
#define SEDGE_FUSED_VECTOR_BYTES 64
#include "train/fused_body.h"
