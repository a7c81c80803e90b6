package dev.gossamer.worker;

/**
 * Does the jobs of an action, and wants to know more of each.
 *
 * @param <P> what the payload is read as
 */
@FunctionalInterface
public interface ContextHandler<P> {
    /**
     * Does one.
     *
     * @param payload the step's input
     * @param context whose it is
     * @return anything that Jackson writes: the step's output
     * @throws Exception whatever makes the attempt fail
     */
    Object handle(P payload, Context context) throws Exception;
}
