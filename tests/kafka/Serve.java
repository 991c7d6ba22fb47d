import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.util.Arrays;

/**
 * Runs commands of the other classes: the name of a class with a method {@code static boolean run(String[])}, then the command and its
 * arguments. Given as arguments, one command is run, and its result is the exit code. Otherwise commands are read from standard input, one
 * per line, because starting a JVM for each takes longer than most of them; the output of each ends with a line that tells the result.
 */
public final class Serve {
    public static void main(String[] args) throws Exception {
        if (args.length > 0) {
            System.exit(run(args) ? 0 : 1);
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            boolean succeeded = false;
            try {
                // The limit -1 keeps an empty last argument.
                succeeded = run(line.split(" ", -1));
            } catch (Exception e) {
                e.printStackTrace();
            }
            System.out.println(succeeded ? "command succeeded" : "command failed");
        }
    }

    private static boolean run(String[] words) throws Exception {
        Method command = Class.forName(words[0]).getDeclaredMethod("run", String[].class);
        command.setAccessible(true);
        return (boolean) command.invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
    }
}
