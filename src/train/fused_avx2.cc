// The avx2 row of the table in fused.cc.
#define SEDGE_FUSED_SET avx2
#define SEDGE_FUSED_NAME "avx2"
#define SEDGE_FUSED_VECTOR_BYTES 32
#include "train/fused_body.h"
