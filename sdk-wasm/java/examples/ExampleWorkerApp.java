import dev.gossamer.worker.Worker;

public class ExampleWorkerApp {
    public static void main(String[] args) {
        Worker worker = new Worker();

        worker.register("step1", payload -> {
            return "Java processed: " + payload;
        });

        worker.register("step2", payload -> {
            return "Java processed again: " + payload;
        });

        worker.start();
    }
}
