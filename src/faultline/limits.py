"""Every limit, named with its unit. What can be configured stands in `settings.py`."""

KIB = 1024
MIB = 1024 * KIB

# wire
event_bytes_max = 48 * KIB  # brokers promise to forward 64 KiB; headers need room
event_read_bytes_max = (
    64 * KIB
)  # what we accept of others: the size every intermediary must pass on
webhook_body_bytes_max = 8 * MIB  # AlertManager sends about 400 bytes an alert: 20,000 alerts
header_bytes_max = 16 * KIB
headers_max = 100
extension_name_chars_max = 20

# keys
key_part_bytes_max = 100
incident_name_chars_max = 24

# faults
seen_seconds = 600  # a fault that is said again is put on file once in so many seconds
flapping_begins_min = 3  # the same condition has begun so often within one incident

# streams
sse_event_bytes_max = 1 * MIB
reconnect_wait_s_min = 1.0
reconnect_wait_s_max = 60.0
stream_silence_s_max = 120.0
stream_at_once_cpu_s = 0.25  # of processor time, before a stream is held to its share

# watch
watch_object_bytes_max = 4 * MIB  # an API server keeps objects below 1.5 MiB
watch_page_objects = 250
watch_payload_bytes_max = 64 * KIB
watch_namespaces_max = 20  # a thread and a connection for each of them and each kind

# capsule
context_file_bytes_max = 1 * MIB
context_bytes_max = 8 * MIB
context_files_max = 200
log_lines_per_container = 50
log_line_chars_max = 2_000
k8s_events_max = 200

# run
run_seconds = 600
run_grace_seconds = 30
workspace_retention_hours = 72.0  # of a run's folder, on the machine where it ran
calm_seconds_before_stop = 60  # a first run goes on so long after every fault is over
agent_log_bytes_max = 4 * MIB
artifact_bytes_max = 5 * MIB
artifacts_bytes_max = 20 * MIB
artifacts_max = 200
report_bytes_min = 100
diagnosis_bytes_max = 256 * KIB

# the gateway
gateway_threads_max = 200  # requests at work at once, answers of models among them
gateway_body_bytes_max = 8 * MIB  # a record of a run, or a question to a model
gateway_model_calls_max = 400  # of one run
gateway_model_calls_at_once = 8  # of one run
gateway_model_answer_s_max = 600.0  # a whole answer
gateway_model_silence_s_max = 120.0  # a model may think long before it says the first word
gateway_runs_max = 1_000  # that the meter remembers

# the built-in loop
loop_steps_max = 25  # questions to the model, the answer and its repetition among them
model_answer_bytes_max = 4 * MIB
model_wait_s_max = 30.0  # how long a service may make us wait before the one retry
tool_calls_max = 300
tool_calls_at_once_max = 16  # of one answer of the model; what is over is not asked
tool_calls_per_minute = 60
tool_repeats_max = 2  # the same question again is answered from then on: asked before
tool_read_bytes_max = 1 * MIB  # of one log or file, as it comes
tool_objects_bytes_max = 32 * MIB  # of one list of the API server
tool_read_s_max = 30.0
tool_answer_bytes_max = 48 * KIB  # of it, what the model gets to see at once
tool_log_lines_max = 1_000
tools_record_bytes_max = 4 * MIB  # of tools.jsonl: then there are no more answers
mcp_tools_max = 20  # of others, by name
mcp_pages_max = 20  # of a server's list of its tools
mcp_words_chars_max = 1_000  # of what a server says about one tool
mcp_schema_bytes_max = 4 * KIB  # of the form of its arguments, once no prose is left in it
mcp_schema_depth_max = 4
mcp_arguments_bytes_max = 2_000  # of one call, as JSON
mcp_arguments_depth_max = 5
prompt_log_chars_max = 3_000  # of one container's log in the question
prompt_events_max = 20

# sweep
nudge_pause_max_s = 600  # between two nudges of an incident that stands still
settled_after_s = 3_600  # after closing; no step that began before is still at work then

# patch
patch_lines_max = 200
patch_files_max = 5
manifest_bytes_max = 1 * MIB
manifests_max = 5_000

# messages
title_chars_max = 120
statement_chars_max = 500
