import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.LocalDate;
import java.time.temporal.ChronoUnit;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.Map;
import org.camunda.bpm.client.ExternalTaskClient;
import org.camunda.bpm.client.task.ExternalTask;
import org.camunda.bpm.client.task.ExternalTaskHandler;
import org.camunda.bpm.client.task.ExternalTaskService;
import org.camunda.bpm.client.variable.ClientValues;
import org.camunda.bpm.engine.variable.VariableMap;
import org.camunda.bpm.engine.variable.Variables;
import org.camunda.bpm.engine.variable.type.ValueType;

/**
 * The hotel's six topics, worked by Camunda 7's Java external-task client with typed values.
 *
 * <p>Arguments: base URL of the REST API, prefix of the topics. Ends when its standard input does.
 */
public final class HotelWorkers {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final long ASYNC_RESPONSE_TIMEOUT_MS = 10_000;
  private static final long LOCK_MS = 20_000;

  private static String prefix;

  public static void main(String[] arguments) throws Exception {
    prefix = arguments[1];
    ExternalTaskClient client =
        ExternalTaskClient.create()
            .baseUrl(arguments[0])
            .workerId("java7")
            .asyncResponseTimeout(ASYNC_RESPONSE_TIMEOUT_MS)
            .lockDuration(LOCK_MS)
            .build();
    subscribe(client, "validate-input", HotelWorkers::validateInput);
    subscribe(client, "search-client", HotelWorkers::searchClient, "email");
    subscribe(client, "create-client", HotelWorkers::createClient, "reservation_id", "email");
    subscribe(client, "check-room-availability", HotelWorkers::checkRoomAvailability);
    subscribe(client, "block-room", HotelWorkers::blockRoom);
    subscribe(client, "create-booking", HotelWorkers::createBooking);
    say(Map.of("ready", true));
    while (System.in.read() >= 0) {}
    System.exit(0);
  }

  private static void subscribe(
      ExternalTaskClient client, String topic, ExternalTaskHandler handler, String... variables) {
    var subscription =
        client
            .subscribe(prefix + topic)
            .handler(
                (task, service) -> {
                  tell(task);
                  handler.execute(task, service);
                });
    if (variables.length > 0) {
      subscription.variables(variables);
    }
    subscription.open();
  }

  private static void validateInput(ExternalTask task, ExternalTaskService service) {
    int guests = task.<Number>getVariable("guests").intValue();
    if (guests < 1) {
      String message = "guests must be 1 to 8";
      service.handleBpmnError(
          task,
          "TASK_ERROR",
          message,
          Variables.createVariables()
              .putValueTyped("valid", Variables.booleanValue(false))
              .putValueTyped("status", Variables.stringValue("invalid"))
              .putValueTyped("error_message", Variables.stringValue(message)));
      return;
    }
    LocalDate checkIn = LocalDate.parse(task.<String>getVariable("check_in"));
    LocalDate checkOut = LocalDate.parse(task.<String>getVariable("check_out"));
    int nights = (int) ChronoUnit.DAYS.between(checkIn, checkOut);
    VariableMap outputs =
        Variables.createVariables()
            .putValueTyped("valid", Variables.booleanValue(true))
            .putValueTyped("nights", Variables.integerValue(nights));
    service.complete(task, outputs);
  }

  private static void searchClient(ExternalTask task, ExternalTaskService service) {
    boolean found = task.<String>getVariable("email").startsWith("regular");
    VariableMap outputs =
        Variables.createVariables().putValueTyped("clientFound", Variables.booleanValue(found));
    if (found) {
      outputs.putValueTyped("client_id", Variables.stringValue("C-regular"));
    }
    service.complete(task, outputs);
  }

  private static void createClient(ExternalTask task, ExternalTaskService service) {
    String id = "C-" + task.getVariable("reservation_id");
    service.complete(
        task, Variables.createVariables().putValueTyped("client_id", Variables.stringValue(id)));
  }

  private static void checkRoomAvailability(ExternalTask task, ExternalTaskService service) {
    VariableMap outputs = Variables.createVariables();
    if ("penthouse".equals(task.getVariable("room_type"))) {
      outputs.putValueTyped("roomAvailable", Variables.booleanValue(false));
      outputs.putValueTyped("status", Variables.stringValue("rejected"));
    } else {
      outputs.putValueTyped("roomAvailable", Variables.booleanValue(true));
      outputs.putValueTyped("selected_room_id", Variables.stringValue("301"));
      outputs.putValueTyped("price", Variables.doubleValue(120.5));
      outputs.putValueTyped("rate_code", Variables.longValue(9_007_199_254_740_993L));
      outputs.putValueTyped(
          "room",
          ClientValues.jsonValue("{\"floor\":3,\"beds\":[\"queen\",\"sofa\"],\"view\":null}"));
      outputs.putValueTyped("discount", Variables.untypedNullValue());
    }
    service.complete(task, outputs);
  }

  private static void blockRoom(ExternalTask task, ExternalTaskService service) {
    if ("suite".equals(task.getVariable("room_type"))) {
      String message = "the last suite went to somebody else meanwhile";
      service.handleBpmnError(
          task,
          "TASK_ERROR",
          message,
          Variables.createVariables()
              .putValueTyped("room_blocked", Variables.booleanValue(false))
              .putValueTyped("status", Variables.stringValue("rejected"))
              .putValueTyped("error_message", Variables.stringValue(message)));
      return;
    }
    service.complete(
        task,
        Variables.createVariables()
            .putValueTyped("room_blocked", Variables.booleanValue(true))
            .putValueTyped(
                "room_id", Variables.stringValue(task.<String>getVariable("selected_room_id")))
            .putValueTyped("blocked_until", Variables.dateValue(new Date(1_893_456_000_000L))));
  }

  private static void createBooking(ExternalTask task, ExternalTaskService service) {
    double price = task.<Number>getVariable("price").doubleValue();
    int nights = task.<Number>getVariable("nights").intValue();
    service.complete(
        task,
        Variables.createVariables()
            .putValueTyped(
                "booking_id", Variables.stringValue("B-" + task.getVariable("reservation_id")))
            .putValueTyped("total", Variables.doubleValue(price * nights))
            .putValueTyped("status", Variables.stringValue("confirmed")));
  }

  private static void tell(ExternalTask task) {
    Map<String, Object> values = new LinkedHashMap<>();
    Map<String, Object> types = new LinkedHashMap<>();
    for (String name : task.getAllVariables().keySet()) {
      var typed = task.getVariableTyped(name);
      values.put(name, plain(typed.getValue(), typed.getType()));
      types.put(name, typed.getType() == null ? null : typed.getType().getName());
    }
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("topic", task.getTopicName());
    line.put("job", task.getId());
    line.put("instance", task.getProcessInstanceId());
    line.put("variables", values);
    line.put("types", types);
    say(line);
  }

  private static Object plain(Object value, ValueType type) {
    try {
      return ClientValues.JSON.equals(type)
          ? JSON.readTree((String) value)
          : value instanceof Date date ? date.toInstant().toString() : value;
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  private static void say(Object line) {
    try {
      System.out.println(JSON.writeValueAsString(line));
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }
}
