//! A worker without an SDK: a WASI command that reads the job on standard input and writes the
//! outcome to standard output (ABI.md §3 and §6). Any language that compiles to WASI works so.

const std = @import("std");

const input_bytes_max = 1 << 20;

const Input = struct {
    variables: struct { text: ?[]const u8 = null },
};

const Outcome = union(enum) {
    completed: struct { variables: struct { words: usize } },
    bpmn_error: struct { code: []const u8, message: []const u8 },
};

fn work(input: Input) Outcome {
    const text = input.variables.text orelse
        return .{ .bpmn_error = .{ .code = "NO_TEXT", .message = "text is missing" } };
    var words = std.mem.tokenizeAny(u8, text, " \t\r\n");
    var count: usize = 0;
    while (words.next()) |_| count += 1;
    return .{ .completed = .{ .variables = .{ .words = count } } };
}

pub fn main(init: std.process.Init) !void {
    const arena = init.arena.allocator();
    var read_buffer: [4096]u8 = undefined;
    var stdin = std.Io.File.stdin().readerStreaming(init.io, &read_buffer);
    const bytes = try stdin.interface.allocRemaining(arena, .limited(input_bytes_max));
    const input = try std.json.parseFromSliceLeaky(Input, arena, bytes, .{
        .ignore_unknown_fields = true,
    });

    var write_buffer: [4096]u8 = undefined;
    var stdout = std.Io.File.stdout().writerStreaming(init.io, &write_buffer);
    try std.json.Stringify.value(work(input), .{}, &stdout.interface);
    try stdout.interface.flush();
}
