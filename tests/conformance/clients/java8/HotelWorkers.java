import com.fasterxml.jackson.databind.ObjectMapper;
import io.camunda.zeebe.client.ZeebeClient;
import io.camunda.zeebe.client.api.response.ActivatedJob;
import io.camunda.zeebe.client.api.worker.JobClient;
import io.camunda.zeebe.client.api.worker.JobHandler;
import java.net.URI;
import java.time.Duration;
import java.time.LocalDate;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The hotel's six job types, worked by Camunda 8's Java client, over gRPC or over REST.
 *
 * <p>Arguments: `grpc` with `HOST:PORT`, or `rest` with a base URL; then the prefix of the types.
 * Ends when its standard input does.
 */
public final class HotelWorkers {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Duration LOCK = Duration.ofSeconds(20);

  private static String prefix;

  public static void main(String[] arguments) throws Exception {
    prefix = arguments[2];
    // Over REST a client has five connections, and each worker's long poll holds one: six workers
    // of one client would leave none to complete a job with.
    ZeebeClient first = connect(arguments[0], arguments[1]);
    ZeebeClient second = connect(arguments[0], arguments[1]);
    work(first, "validate-input", HotelWorkers::validateInput);
    work(first, "search-client", HotelWorkers::searchClient, "email");
    work(first, "create-client", HotelWorkers::createClient, "reservation_id", "email");
    work(second, "check-room-availability", HotelWorkers::checkRoomAvailability);
    work(second, "block-room", HotelWorkers::blockRoom);
    work(second, "create-booking", HotelWorkers::createBooking);
    say(Map.of("ready", true));
    while (System.in.read() >= 0) {}
    System.exit(0);
  }

  private static ZeebeClient connect(String mode, String address) {
    var builder = ZeebeClient.newClientBuilder().usePlaintext().defaultJobWorkerName("java8");
    return mode.equals("rest")
        ? builder.restAddress(URI.create(address)).preferRestOverGrpc(true).build()
        : builder.grpcAddress(URI.create("http://" + address)).preferRestOverGrpc(false).build();
  }

  private static void work(
      ZeebeClient client, String type, JobHandler handler, String... variables) {
    client
        .newWorker()
        .jobType(prefix + type)
        .handler(
            (jobs, job) -> {
              tell(job);
              handler.handle(jobs, job);
            })
        .timeout(LOCK)
        .fetchVariables(variables)
        .open();
  }

  private static void validateInput(JobClient jobs, ActivatedJob job) {
    Map<String, Object> inputs = job.getVariablesAsMap();
    if (((Number) inputs.get("guests")).intValue() < 1) {
      String message = "guests must be 1 to 8";
      jobs.newThrowErrorCommand(job)
          .errorCode("TASK_ERROR")
          .errorMessage(message)
          .variables(Map.of("valid", false, "status", "invalid", "error_message", message))
          .send()
          .join();
      return;
    }
    LocalDate checkIn = LocalDate.parse((String) inputs.get("check_in"));
    LocalDate checkOut = LocalDate.parse((String) inputs.get("check_out"));
    long nights = ChronoUnit.DAYS.between(checkIn, checkOut);
    complete(jobs, job, Map.of("valid", true, "nights", nights));
  }

  private static void searchClient(JobClient jobs, ActivatedJob job) {
    boolean found = ((String) job.getVariable("email")).startsWith("regular");
    complete(
        jobs,
        job,
        found
            ? Map.of("clientFound", true, "client_id", "C-regular")
            : Map.of("clientFound", false));
  }

  private static void createClient(JobClient jobs, ActivatedJob job) {
    complete(jobs, job, Map.of("client_id", "C-" + job.getVariable("reservation_id")));
  }

  private static void checkRoomAvailability(JobClient jobs, ActivatedJob job) {
    Map<String, Object> outputs = new LinkedHashMap<>();
    if ("penthouse".equals(job.getVariable("room_type"))) {
      outputs.put("roomAvailable", false);
      outputs.put("status", "rejected");
    } else {
      Map<String, Object> room = new LinkedHashMap<>();
      room.put("floor", 3);
      room.put("beds", List.of("queen", "sofa"));
      room.put("view", null);
      outputs.put("roomAvailable", true);
      outputs.put("selected_room_id", "301");
      outputs.put("price", 120.5);
      outputs.put("rate_code", 9_007_199_254_740_993L);
      outputs.put("room", room);
      outputs.put("discount", null);
    }
    complete(jobs, job, outputs);
  }

  private static void blockRoom(JobClient jobs, ActivatedJob job) {
    if ("suite".equals(job.getVariable("room_type"))) {
      String message = "the last suite went to somebody else meanwhile";
      jobs.newThrowErrorCommand(job)
          .errorCode("TASK_ERROR")
          .errorMessage(message)
          .variables(
              Map.of("room_blocked", false, "status", "rejected", "error_message", message))
          .send()
          .join();
      return;
    }
    complete(
        jobs,
        job,
        Map.of(
            "room_blocked", true,
            "room_id", job.getVariable("selected_room_id"),
            "blocked_until", "2030-01-01T00:00:00Z"));
  }

  private static void createBooking(JobClient jobs, ActivatedJob job) {
    double price = ((Number) job.getVariable("price")).doubleValue();
    int nights = ((Number) job.getVariable("nights")).intValue();
    complete(
        jobs,
        job,
        Map.of(
            "booking_id", "B-" + job.getVariable("reservation_id"),
            "total", price * nights,
            "status", "confirmed"));
  }

  private static void complete(JobClient jobs, ActivatedJob job, Map<String, Object> outputs) {
    jobs.newCompleteCommand(job).variables(outputs).send().join();
  }

  private static void tell(ActivatedJob job) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("topic", job.getType());
    line.put("job", job.getKey());
    line.put("instance", job.getProcessInstanceKey());
    line.put("variables", job.getVariablesAsMap());
    say(line);
  }

  private static void say(Object line) {
    try {
      System.out.println(JSON.writeValueAsString(line));
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }
}
