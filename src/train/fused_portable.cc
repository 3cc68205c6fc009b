// The portable row of the table in fused.cc.
#define SEDGE_FUSED_SET portable
#define SEDGE_FUSED_NAME "portable"
#include "train/fused_body.h"
