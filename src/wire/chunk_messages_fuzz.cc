// Any bytes as each message about chunks, type byte first; what decodes has one encoding.
#include "wire/chunk_messages.h"
#include "wire/comes_back.h"
#include "wire/message_type.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case MessageType::kChunkQuery:
      comes_back<ChunkQuery>(frame->body);
      break;
    case MessageType::kChunkHave:
      comes_back<ChunkHave>(frame->body);
      break;
    case MessageType::kChunkWant:
      comes_back<ChunkWant>(frame->body);
      break;
    case MessageType::kChunkPiece:
      comes_back<ChunkPiece>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
