"""What travels, where it is not just a call's own parameters."""

from gpupool.dataplane.api.entry import ONE_WAY, SYNCHRONOUS, Message

MESSAGES = (
    Message(
        "snapshot",
        SYNCHRONOUS,
        "",
        "int32_t driver_version, uint32_t attribute_count, uint32_t reserved0, uint32_t reserved1, "
        "char name[256], char uuid[16], char bus[32], int32_t attributes[160], uint8_t known[160]",
        "What the runtime answers by itself from then on; known[n] is 1 where attribute n exists. The "
        "uuid is the device's, which only runtimes of earlier versions tell programs.",
    ),
    Message("memory_allocate", SYNCHRONOUS, "uint64_t bytes, uint64_t context", "uint64_t address"),
    Message(
        "memory_allocate_pitch",
        SYNCHRONOUS,
        "uint64_t width, uint64_t height, uint64_t context, uint32_t element_bytes, uint32_t reserved",
        "uint64_t address, uint64_t pitch",
    ),
    Message("memory_free", ONE_WAY, "uint64_t address"),
    Message(
        "memory_set",
        ONE_WAY,
        "uint64_t address, uint64_t pitch, uint64_t width, uint64_t height, uint64_t stream, "
        "uint32_t value, uint32_t element_bytes",
        payload="Height 1 is a plain run of width elements.",
    ),
    Message(
        "copy_in",
        ONE_WAY,
        "uint64_t destination, uint64_t bytes, uint64_t position, uint64_t stream",
        payload="From staging, at position modulo its size; staging up to position + bytes is free "
        "again when the copy is done.",
    ),
    Message(
        "copy_in_small",
        ONE_WAY,
        "uint64_t destination, uint64_t bytes, uint64_t stream",
        payload="The bytes follow the request.",
    ),
    Message(
        "copy_out_small",
        SYNCHRONOUS,
        "uint64_t source, uint64_t bytes, uint64_t stream",
        payload="The bytes are the reply.",
    ),
    Message(
        "copy_arena",
        ONE_WAY,
        "uint64_t device, uint64_t offset, uint64_t bytes, uint64_t stream, "
        "uint32_t to_device, uint32_t reserved",
        payload="Between device memory and the bounce or heap part of the arena.",
    ),
    Message(
        "copy_device",
        ONE_WAY,
        "uint64_t destination, uint64_t source, uint64_t bytes, uint64_t stream",
    ),
    Message(
        "staging_wait", SYNCHRONOUS, "uint64_t position", payload="Until staging is free up to there."
    ),
    Message("host_register", ONE_WAY, "uint64_t offset, uint64_t bytes"),
    Message("host_unregister", ONE_WAY, "uint64_t offset"),
    Message(
        "image_part",
        ONE_WAY,
        "uint64_t position, uint64_t bytes",
        payload="Appended, from staging, to the image that the next module_load takes.",
    ),
    Message(
        "module_load",
        SYNCHRONOUS,
        "uint64_t module, uint64_t bytes, uint32_t option_count, uint32_t reserved",
        "uint32_t information_bytes, uint32_t error_bytes",
        "Pairs of 64-bit option and value follow the request, the compiler's two logs the reply.",
    ),
    Message("module_unload", ONE_WAY, "uint64_t module", payload="Ends its functions too."),
    Message(
        "module_function",
        SYNCHRONOUS,
        "uint64_t module, uint64_t function",
        "uint32_t parameter_count, uint32_t parameter_bytes, uint32_t layout_known, uint32_t reserved",
        "The name follows the request; 16-bit pairs of offset and size follow the reply.",
    ),
    Message(
        "module_global",
        SYNCHRONOUS,
        "uint64_t module",
        "uint64_t address, uint64_t bytes",
        "The name follows the request.",
    ),
    Message(
        "launch",
        ONE_WAY,
        "uint64_t function, uint64_t stream, uint32_t grid[3], uint32_t block[3], "
        "uint32_t shared_bytes, uint32_t attribute_count, uint32_t parameter_bytes, "
        "uint32_t cooperative",
        payload="Launch attributes of 72 bytes each, then the parameters at their own offsets.",
    ),
    Message(
        "stream_create",
        ONE_WAY,
        "uint64_t stream, uint32_t flags, int32_t priority",
    ),
    Message("stream_destroy", ONE_WAY, "uint64_t stream"),
    Message("event_create", ONE_WAY, "uint64_t event, uint32_t flags, uint32_t reserved"),
    Message("event_destroy", ONE_WAY, "uint64_t event"),
)
