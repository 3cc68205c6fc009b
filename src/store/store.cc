#include "store/store.h"

#include <sqlite3.h>

#include "store/vfs.h"

namespace sedge::store {
namespace {

constexpr int kApplicationId = 0x53454447;  // "SEDG"
constexpr int kFormatVersion = 1;

// Exclusive before the first read, or the WAL would want shared memory. quick_check reads every page once.
constexpr const char* kSettings =
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;";
constexpr const char* kSchema =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE records(bucket TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY(bucket, key))"
    " WITHOUT ROWID;"
    "PRAGMA application_id=1397048391; PRAGMA user_version=1;"
    "COMMIT;";
static_assert(kApplicationId == 1397048391);

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Code code_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
      return Code::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::kDataLoss;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

class SqliteStore final : public Store {
 public:
  SqliteStore(env::Storage& storage, std::string_view name) : vfs_(storage), name_(name) {}

  Status open() {
    sqlite3* opened = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int code = sqlite3_open_v2(name_.c_str(), &opened, flags, vfs_.name());
    database_.reset(opened);
    if (code != SQLITE_OK) return error(code, "opening");
    SEDGE_CHECK(run(kSettings));
    SEDGE_CHECK(check_format());
    SEDGE_TRY(put_, prepare("INSERT OR REPLACE INTO records(bucket, key, value) VALUES(?1, ?2, ?3)"));
    SEDGE_TRY(erase_, prepare("DELETE FROM records WHERE bucket = ?1 AND key = ?2"));
    SEDGE_TRY(load_, prepare("SELECT key, value FROM records WHERE bucket = ?1 ORDER BY key"));
    return {};
  }

  Status apply(std::span<const env::Record> records) override {
    if (records.empty()) return {};
    SEDGE_CHECK(run("BEGIN IMMEDIATE"));
    Status done = write(records);
    if (done) done = run("COMMIT");
    if (!done && sqlite3_get_autocommit(database_.get()) == 0) {
      sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
    return done;
  }

  Status load(std::string_view bucket, const std::function<Status(Bytes, Bytes)>& visit) override {
    sqlite3_stmt* const statement = load_.get();
    bind_text(statement, 1, bucket);
    Status status;
    int code = SQLITE_DONE;
    while (status && (code = sqlite3_step(statement)) == SQLITE_ROW) {
      status = visit(column(statement, 0), column(statement, 1));
    }
    const Status failed = status && code != SQLITE_DONE ? error(code, "reading") : Status{};
    sqlite3_reset(statement);
    return status ? failed : status;
  }

 private:
  Status error(int code, std::string_view doing) {
    const char* const said = database_ ? sqlite3_errmsg(database_.get()) : sqlite3_errstr(code);
    const std::string& storage = vfs_.last_error().message;
    const bool from_storage = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
    return fail(code_of(code), "{}: {}: {}{}{}", name_, doing, said, from_storage && !storage.empty() ? ": " : "",
                from_storage ? storage : std::string());
  }

  Status run(const char* sql) {
    const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? Status{} : error(code, "writing");
  }

  Result<Statement> prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return std::unexpected(error(code, "preparing").error());
    return Statement(statement);
  }

  // The first column of the first row, as text.
  Result<std::string> ask(const char* sql) {
    SEDGE_TRY(const Statement statement, prepare(sql));
    const int code = sqlite3_step(statement.get());
    if (code != SQLITE_ROW) return std::unexpected(error(code, sql).error());
    const auto* const text = sqlite3_column_text(statement.get(), 0);
    return std::string(text ? reinterpret_cast<const char*>(text) : "");
  }

  Status check_format() {
    SEDGE_TRY(const std::string tables, ask("SELECT count(*) FROM sqlite_schema"));
    if (tables == "0") return run(kSchema);
    SEDGE_TRY(const std::string application, ask("PRAGMA application_id"));
    SEDGE_TRY(const std::string version, ask("PRAGMA user_version"));
    if (application != std::to_string(kApplicationId)) {
      return fail(Code::kDataLoss, "{}: an SQLite file, but not one of ours (application id {})", name_, application);
    }
    if (version != std::to_string(kFormatVersion)) {
      return fail(Code::kFailedPrecondition, "{}: format version {}; this build reads {}: upgrade it", name_, version,
                  kFormatVersion);
    }
    SEDGE_TRY(const std::string verdict, ask("PRAGMA quick_check(1)"));
    if (verdict != "ok") return fail(Code::kDataLoss, "{}: damaged: {}", name_, verdict);
    return {};
  }

  static void bind_text(sqlite3_stmt* statement, int at, std::string_view text) {
    sqlite3_bind_text64(statement, at, text.empty() ? "" : text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  // What is empty may have no address, which SQLite would take for NULL.
  static void bind_bytes(sqlite3_stmt* statement, int at, Bytes bytes) {
    sqlite3_bind_blob64(statement, at, bytes.empty() ? "" : static_cast<const void*>(bytes.data()), bytes.size(),
                        SQLITE_STATIC);
  }
  static Bytes column(sqlite3_stmt* statement, int at) {
    const auto* const data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement, at));
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement, at))};
  }

  Status write(std::span<const env::Record> records) {
    for (const env::Record& record : records) {
      sqlite3_stmt* const statement = record.erase ? erase_.get() : put_.get();
      bind_text(statement, 1, record.bucket);
      bind_bytes(statement, 2, record.key);
      if (!record.erase) bind_bytes(statement, 3, record.value);
      const int code = sqlite3_step(statement);
      sqlite3_reset(statement);
      sqlite3_clear_bindings(statement);
      if (code != SQLITE_DONE) return error(code, "writing");
    }
    return {};
  }

  Vfs vfs_;  // outlives the database
  std::string name_;
  Database database_;
  Statement put_, erase_, load_;
};

}  // namespace

Result<std::unique_ptr<Store>> Store::open(env::Storage& storage, std::string_view name) {
  auto store = std::make_unique<SqliteStore>(storage, name);
  SEDGE_CHECK(store->open());
  return store;
}

}  // namespace sedge::store
