// The portable row of the table in fused.cc.
#define SEDGE_FUSED_SET portable
#define SEDGE_FUSED_NAME "portable"
#define SEDGE_FUSED_VECTOR_BYTES 16
#include "train/fused_body.h"
