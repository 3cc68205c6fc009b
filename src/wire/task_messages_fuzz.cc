// Any bytes as each message about tasks, type byte first; what decodes has one encoding.
#include "wire/comes_back.h"
#include "wire/message_type.h"
#include "wire/task_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::wire;
  const auto frame = open_frame({data, size});
  if (!frame) return 0;
  switch (frame->type) {
    case MessageType::kTaskAssign:
      comes_back<TaskAssign>(frame->body);
      break;
    case MessageType::kTaskAnswer:
      comes_back<TaskAnswer>(frame->body);
      break;
    case MessageType::kTaskTokens:
      comes_back<TaskTokens>(frame->body);
      break;
    case MessageType::kTaskDone:
      comes_back<TaskDone>(frame->body);
      break;
    case MessageType::kTaskCancel:
      comes_back<TaskCancel>(frame->body);
      break;
    case MessageType::kTaskCredit:
      comes_back<TaskCredit>(frame->body);
      break;
    default:
      break;
  }
  return 0;
}
